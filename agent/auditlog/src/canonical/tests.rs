use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

fn form(form: Canonical, text: &str) -> String {
    let mut members = Vec::new();
    assert!(json::scan(text.as_bytes(), &mut members).unwrap().object);
    let mut out = Vec::new();
    let kept = |key: &[u8]| key != b"hash";
    write(form, text.as_bytes(), &members, kept, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Texts of objects: numbers and strings as writers write them, escapes and blanks of all kinds.
fn text() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        "[ -~]{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "(\\\\u[0-9a-fA-F]{4}|\\\\ud83[0-9a-f]\\\\ude[0-9]{2}|\\\\[bfnrt\"/\\\\]|[a-zé\u{7f}😀\u{2028}]){0,8}"
            .prop_map(|inside| format!("\"{inside}\"")),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u128>().prop_map(|number| number.to_string()),
        string.clone(),
    ];
    let value = leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            object(string.clone().boxed(), inner.boxed()),
        ]
    });
    object(
        "[a-zA-Zé😀\u{e000}]{0,3}"
            .prop_map(|key| format!("\"{key}\""))
            .boxed(),
        value.boxed(),
    )
}

fn object(key: BoxedStrategy<String>, value: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    prop::collection::vec((key, value), 0..6).prop_map(|members| {
        let members: Vec<String> = members
            .into_iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// What Python's `json` makes of texts, or `None` where there is no Python.
fn python(texts: &[String], arguments: &str) -> Option<Vec<String>> {
    let script = format!(
        "import json, sys\nfor line in sys.stdin.buffer.read().split(b'\\n')[:-1]:\n    \
         text = json.dumps(json.loads(line), sort_keys=True, {arguments})\n    \
         sys.stdout.buffer.write(text.encode('utf-8', 'surrogatepass') + b'\\n')"
    );
    let mut child = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let lines: String = texts.iter().map(|text| format!("{text}\n")).collect();
    let feeder = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines_by_newline())
}

trait ByNewline {
    fn lines_by_newline(&self) -> Vec<String>;
}

impl ByNewline for String {
    /// `str::lines` would also take a `\r` off.
    fn lines_by_newline(&self) -> Vec<String> {
        self.split_terminator('\n').map(str::to_owned).collect()
    }
}

#[test]
fn writes_what_python_writes() {
    let mut runner = TestRunner::deterministic();
    let texts: Vec<String> = (0..1500)
        .map(|_| text().new_tree(&mut runner).unwrap().current())
        .collect();
    for (canonical, arguments) in [
        (Canonical::JsonSortedCompact, r#"separators=(",", ":")"#),
        (Canonical::JsonSorted, ""),
    ] {
        let Some(expected) = python(&texts, arguments) else {
            return;
        };
        assert_eq!(expected.len(), texts.len());
        for (text, expected) in texts.iter().zip(expected) {
            assert_eq!(form(canonical, text), expected, "of {text}");
        }
    }
    let whole: Vec<String> = texts.into_iter().filter(|text| !lone_surrogates(text)).collect();
    assert!(whole.len() > 300);
    let Some(expected) = python(&whole, r#"separators=(",", ":"), ensure_ascii=False"#) else {
        return;
    };
    for (text, expected) in whole.iter().zip(expected) {
        assert_eq!(
            form(Canonical::JsonSortedCompactUtf8, text),
            expected,
            "of {text}"
        );
    }
}

fn lone_surrogates(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_err()
}

#[test]
fn numbers_keep_their_digits() {
    let text = r#"{"f":1.0,"e":1E+400,"big":123456789012345678901234567890,"z":-0}"#;
    let expected = r#"{"big":123456789012345678901234567890,"e":1E+400,"f":1.0,"z":-0}"#;
    assert_eq!(form(Canonical::JsonSortedCompact, text), expected);
}

#[test]
fn the_last_of_equal_keys_counts_and_is_met() {
    let text = br#"{"a":{"x":1,"\u0078":2},"b":0,"a":{"x":3,"x":4}}"#;
    let (mut members, mut out) = (Vec::new(), Vec::new());
    json::scan(text, &mut members).unwrap();
    let met = write(Canonical::JsonSortedCompact, text, &members, |_| true, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":{"x":4},"b":0}"#);
    assert!(met.duplicate);
}

#[test]
fn half_a_pair_has_no_utf8() {
    let text = br#"{"a":"\ud800"}"#;
    let (mut members, mut out) = (Vec::new(), Vec::new());
    json::scan(text, &mut members).unwrap();
    assert!(
        write(
            Canonical::JsonSortedCompactUtf8,
            text,
            &members,
            |_| true,
            &mut out
        )
        .is_err()
    );
    assert_eq!(
        form(Canonical::JsonSortedCompact, r#"{"a":"\uD800x"}"#),
        r#"{"a":"\ud800x"}"#
    );
}

#[test]
fn raw_cuts_members_out_wherever_they_stand() {
    let raw = |text| form(Canonical::RawWithoutHash, text);
    assert_eq!(raw(r#"{"b": 1, "a":  2, "hash": "x"}"#), r#"{"b": 1, "a":  2}"#);
    assert_eq!(raw(r#"{"hash":"x","b":1,"a":2}"#), r#"{"b":1,"a":2}"#);
    assert_eq!(raw(r#"{"b":1,"hash":"x","a":2}"#), r#"{"b":1,"a":2}"#);
    assert_eq!(raw(r#"{"b": 1, "hash": "x", "a": 2}"#), r#"{"b": 1, "a": 2}"#);
    assert_eq!(raw(r#"{"hash":"x"}"#), "{}");
}
