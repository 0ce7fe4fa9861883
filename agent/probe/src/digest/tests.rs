use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, UInt64Array};
use dr_probe_wire::job::RowKey;

use super::*;

fn batch(addresses: &[u64], numbers: &[i64], texts: &[&str]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("t", Arc::new(StringArray::from(texts.to_vec()))),
        (ROW_ADDRESS, Arc::new(UInt64Array::from(addresses.to_vec()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn of(batches: &[RecordBatch]) -> Digest {
    let hasher = RowHasher::new(&RowKey([3; 32]), &["t".to_owned(), "n".to_owned()]);
    let mut fragments = ByFragment::new();
    batches
        .iter()
        .for_each(|batch| hasher.add(batch, &mut fragments).unwrap());
    let mut all = Digest::default();
    fragments.values().for_each(|digest| all.add(digest));
    all
}

#[test]
fn order_batches_and_fragments_do_not_matter() {
    let whole = of(&[batch(&[0, 1, 2], &[1, 2, 3], &["a", "b", "c"])]);
    let parts = of(&[
        batch(&[1 << 32, 5], &[3, 1], &["c", "a"]),
        batch(&[7 << 32], &[2], &["b"]),
    ]);
    assert_eq!(whole, parts);
    assert_eq!(whole.rows, 3);
}

#[test]
fn any_cell_changes_the_digest_in_its_column() {
    let before = of(&[batch(&[0, 1], &[1, 2], &["a", "b"])]);
    let after = of(&[batch(&[0, 1], &[1, 2], &["a", "c"])]);
    assert_ne!(before.sum, after.sum);
    assert_eq!(before.columns["n"], after.columns["n"]);
    assert_ne!(before.columns["t"], after.columns["t"]);
}

#[test]
fn cells_that_change_rows_change_the_row_sum_alone() {
    let before = of(&[batch(&[0, 1], &[1, 2], &["a", "b"])]);
    let swapped = of(&[batch(&[0, 1], &[1, 2], &["b", "a"])]);
    assert_eq!(before.columns, swapped.columns);
    assert_ne!(before.sum, swapped.sum);
}

#[test]
fn a_row_that_is_there_twice_counts_twice() {
    let once = of(&[batch(&[0], &[1], &["a"])]);
    let twice = of(&[batch(&[0, 1], &[1, 1], &["a", "a"])]);
    assert_ne!(once.sum, twice.sum);
    assert_eq!(twice.rows, 2);
}

#[test]
fn fragments_are_kept_apart() {
    let hasher = RowHasher::new(&RowKey([3; 32]), &["n".to_owned()]);
    let mut fragments = ByFragment::new();
    hasher
        .add(
            &batch(&[3 << 32, 9, 3 << 32 | 1], &[1, 2, 3], &["", "", ""]),
            &mut fragments,
        )
        .unwrap();
    let rows: Vec<(u64, u64)> = fragments.iter().map(|(id, digest)| (*id, digest.rows)).collect();
    assert_eq!(rows, [(0, 1), (3, 2)]);
}
