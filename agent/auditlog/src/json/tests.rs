use proptest::prelude::*;

use super::*;

fn scanned(text: &[u8]) -> Result<(Shape, Vec<Member>), Syntax> {
    let mut members = Vec::new();
    scan(text, &mut members).map(|shape| (shape, members))
}

/// JSON, and texts that are nearly JSON.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\"a\""),
        Just("\"\\u12aF\""),
        Just("\"\\x\""),
        Just("\"\\"),
        Just("0"),
        Just("-1.5e+7"),
        Just("01"),
        Just("1."),
        Just("-"),
        Just("true"),
        Just("nul"),
        Just("null"),
        Just(" "),
        Just("\t"),
        Just("\"é\u{2028}\""),
        Just("\"\u{1}\""),
    ];
    prop_oneof![
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat()),
        any_json().prop_map(|value| value.to_string()),
        (any_json(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(value, at, by)| {
            let mut text: Vec<char> = value.to_string().chars().collect();
            let at = at.index(text.len());
            text[at] = by;
            text.into_iter().collect()
        }),
    ]
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_serde_json_on_what_is_json(text in nearly_json()) {
        let known = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(scanned(text.as_bytes()).is_ok(), known, "{}", text);
    }

    #[test]
    fn lists_the_members_of_an_object(value in prop::collection::btree_map(any::<String>(), any_json(), 0..6)) {
        let value = serde_json::Value::Object(value.into_iter().collect());
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let (shape, members) = scanned(text.as_bytes()).unwrap();
            prop_assert!(shape.object);
            let read: serde_json::Value = members
                .into_iter()
                .map(|Member { key, value }| {
                    let key: String = serde_json::from_str(&format!("\"{}\"", &text[key])).unwrap();
                    (key, serde_json::from_str::<serde_json::Value>(&text[value]).unwrap())
                })
                .collect();
            prop_assert_eq!(&read, &serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _any_answer = scanned(&bytes);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: u32| ["[".repeat(depth as usize), "]".repeat(depth as usize)].concat();
    assert!(scanned(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(
        scanned(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().what,
        "nested too deep"
    );
    assert!(scanned("[".repeat(1 << 20).as_bytes()).is_err());
}

#[test]
fn words_that_python_writes_are_noted() {
    for (text, nonstandard) in [
        ("{\"a\":NaN}", true),
        ("[-Infinity,Infinity]", true),
        ("[-1]", false),
    ] {
        assert_eq!(
            scanned(text.as_bytes()).unwrap().0.nonstandard,
            nonstandard,
            "{text}"
        );
    }
    assert!(scanned(b"[-Inf]").is_err());
}

#[test]
fn says_where_a_text_goes_wrong() {
    let fault = |text: &str| scanned(text.as_bytes()).unwrap_err();
    assert_eq!(fault("{\"a\":1}{\"b\":2}").at, 7);
    assert!(fault("{\"a\":1}{\"b\":2}").what.contains("unterminated"));
    assert_eq!(
        fault("{\"a\":01}"),
        Syntax {
            at: 6,
            what: "a comma or the end of the container should be here"
        }
    );
    assert_eq!(
        scanned(b"{\"a\":\"\xff\"}").unwrap_err(),
        Syntax {
            at: 6,
            what: "bytes that are not UTF-8"
        }
    );
}
