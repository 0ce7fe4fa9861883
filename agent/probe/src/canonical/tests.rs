use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Float32Type, Int8Type, Int32Type, Int64Type};
use arrow_array::{
    BinaryArray, BooleanArray, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array, LargeListArray,
    LargeStringArray, ListArray, NullArray, StringArray, StringViewArray, StructArray,
};
use arrow_schema::{Field, Fields};

use super::*;

fn encoded(array: &ArrayRef) -> Vec<Vec<u8>> {
    let encoder = Encoder::new(array).unwrap();
    let one = |row| {
        let mut out = Vec::new();
        encoder.encode(row, &mut out);
        out
    };
    (0..array.len()).map(one).collect()
}

/// Arrays of every kind, each with nulls and with values that differ in one place only.
fn arrays() -> Vec<ArrayRef> {
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), Some(2)]);
    list.append_value([Some(1), None, Some(2)]);
    list.append_null();
    list.append_value([] as [Option<i32>; 0]);
    list.append_value([Some(12)]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let vectors = [Some([1.0f32, 2.0]), None, Some([2.0, 1.0]), Some([1.0, 2.5])];
    let vectors = vectors.into_iter().map(|v| v.map(|v| v.map(Some)));
    let nested = StructArray::new(
        Fields::from(vec![
            Field::new("b", DataType::Utf8, true),
            Field::new("a", DataType::Int32, true),
        ]),
        vec![
            Arc::new(StringArray::from(vec![Some("x"), None, Some("x"), Some("")])),
            Arc::new(Int32Array::from(vec![1, 1, 2, 1])),
        ],
        Some(vec![true, true, true, false].into()),
    );
    vec![
        Arc::new(Int32Array::from(vec![Some(1), None, Some(-1), Some(0)])),
        Arc::new(Float64Array::from(vec![Some(0.0), Some(-0.0), None, Some(1.5)])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(StringArray::from(vec![
            Some(""),
            None,
            Some("a"),
            Some("a longer text than a view holds"),
        ])),
        Arc::new(BinaryArray::from(vec![
            Some(&b"\0"[..]),
            None,
            Some(b""),
            Some(b"\0\0"),
        ])),
        Arc::new(list.finish()),
        Arc::new(map.finish()),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            vectors, 2,
        )),
        Arc::new(nested),
    ]
}

#[test]
fn different_values_have_different_forms() {
    for array in arrays() {
        let forms = encoded(&array);
        let unique: std::collections::BTreeSet<_> = forms.iter().collect();
        assert_eq!(unique.len(), forms.len(), "{}", array.data_type());
    }
}

#[test]
fn a_value_has_one_form_wherever_it_lies() {
    for array in arrays() {
        let whole = encoded(&array);
        for start in 0..array.len() {
            for len in 1..=array.len() - start {
                assert_eq!(
                    encoded(&array.slice(start, len)),
                    whole[start..start + len],
                    "{}",
                    array.data_type()
                );
            }
        }
        let twice = arrow_select::concat::concat(&[array.as_ref(), array.slice(1, 2).as_ref()]).unwrap();
        assert_eq!(encoded(&twice)[..array.len()], whole[..]);
        assert_eq!(encoded(&twice)[array.len()..], whole[1..3]);
    }
}

#[test]
fn encodings_of_the_same_text_agree() {
    let texts = [
        Some("a"),
        None,
        Some("a longer text than a view holds"),
        Some("a"),
    ];
    let plain: ArrayRef = Arc::new(StringArray::from_iter(texts));
    let large: ArrayRef = Arc::new(LargeStringArray::from_iter(texts));
    let views: ArrayRef = Arc::new(StringViewArray::from_iter(texts));
    let narrow: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(texts));
    let wide: ArrayRef = Arc::new(DictionaryArray::<Int64Type>::from_iter(texts));
    for other in [large, views, narrow, wide] {
        assert_eq!(encoded(&other), encoded(&plain), "{}", other.data_type());
    }
}

#[test]
fn what_lies_below_a_null_does_not_count() {
    let values = || Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef;
    let other = || Arc::new(Int32Array::from(vec![9, 9, 3, 4])) as ArrayRef;
    let field = Arc::new(Field::new_list_field(DataType::Int32, true));
    let lists = [values(), other()].map(|items| {
        let nulls = Some(vec![false, true].into());
        Arc::new(FixedSizeListArray::new(Arc::clone(&field), 2, items, nulls)) as ArrayRef
    });
    assert_eq!(encoded(&lists[0]), encoded(&lists[1]));
}

#[test]
fn wide_and_narrow_lists_agree() {
    let rows = || vec![Some(vec![Some(1), None]), None, Some(vec![Some(3)])];
    let narrow: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows()));
    let wide: ArrayRef = Arc::new(LargeListArray::from_iter_primitive::<Int32Type, _, _>(rows()));
    assert_eq!(encoded(&narrow), encoded(&wide));
}

#[test]
fn nulls_are_one_byte_and_unknown_types_are_refused() {
    let nulls: ArrayRef = Arc::new(NullArray::new(3));
    assert_eq!(encoded(&nulls), vec![vec![0]; 3]);
    let runs = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(Field::new("values", DataType::Utf8, true)),
    );
    assert!(!supports(&runs));
}
