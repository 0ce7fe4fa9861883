use proptest::prelude::*;

use super::*;
use crate::model::HostName;

fn host() -> HostName {
    "db-1".parse().unwrap()
}

fn labels(texts: &[&str]) -> Labels {
    Labels::parse(texts.iter().copied()).unwrap()
}

fn picks(selector: &str, given: &[&str]) -> bool {
    selector
        .parse::<Selector>()
        .unwrap()
        .matches(&host(), &labels(given))
}

#[test]
fn every_form_picks_what_its_table_says() {
    for (selector, given, expected) in [
        ("*", &[][..], true),
        ("env=prod", &["env=prod"], true),
        ("env=prod", &["env=dev"], false),
        ("env=prod", &[], false),
        ("env!=prod", &["env=dev"], true),
        ("env!=prod", &[], true),
        ("env!=prod", &["env=prod"], false),
        ("tier in (gold,silver)", &["tier=silver"], true),
        ("tier in ( gold , silver )", &["tier=tin"], false),
        ("tier notin (gold,silver)", &[], true),
        ("tier notin (gold,silver)", &["tier=gold"], false),
        ("spot", &["spot=yes"], true),
        ("spot", &[], false),
        ("!spot", &[], true),
        ("! spot", &["spot=yes"], false),
        ("host=db-1", &[], true),
        ("host=db-2", &[], false),
        ("host!=db-1", &[], false),
        (
            "env=prod, tier in (gold,silver), !spot",
            &["env=prod", "tier=gold"],
            true,
        ),
        ("env=prod,!spot", &["env=prod", "spot=1"], false),
        ("index", &["index=1"], true),
        ("in=a", &["in=a"], true),
    ] {
        assert_eq!(picks(selector, given), expected, "{selector} on {given:?}");
    }
}

#[test]
fn an_error_names_the_place_and_what_is_expected_there() {
    for (text, position, expected) in [
        ("", 1, "a label's key"),
        ("env=prod,", 10, "a label's key"),
        ("env=", 5, "a value"),
        ("env prod", 5, "`=`"),
        ("tier in gold", 9, "`(`"),
        ("tier in (gold", 14, "`,` or `)`"),
        ("tier in (gold silver)", 15, "`,` or `)`"),
        ("tier in ()", 10, "a value"),
        ("*,env=prod", 2, "the end"),
        ("env=prod;x", 9, "the end"),
        ("!spot=1", 6, "the end"),
        ("é", 1, "a label's key"),
        ("env=é", 5, "a value"),
    ] {
        let error = text.parse::<Selector>().unwrap_err();
        assert_eq!(error.position(), position, "{error}");
        assert!(error.expected().contains(expected), "{error}");
    }
}

#[test]
fn labels_that_no_selector_could_name_are_refused() {
    for (text, names) in [
        ("env", "KEY=VALUE"),
        ("=x", "key"),
        ("-a=x", "key"),
        ("a b=x", "key"),
        ("env=", "cannot be"),
        ("env=a,b", "cannot be"),
        ("host=x", "own name"),
    ] {
        let error = Labels::parse([text]).unwrap_err().to_string();
        assert!(error.contains(names), "{error}");
    }
    assert_eq!(Labels::parse(["a=1", "a=2"]), Err(LabelError::Twice("a".into())));
    let many: Vec<String> = (0..65).map(|n| format!("k{n}=v")).collect();
    assert_eq!(
        Labels::parse(many.iter().map(String::as_str)),
        Err(LabelError::TooMany(65))
    );
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let values = || prop::collection::btree_set("[a-z0-9._/:@+-]{1,8}", 1..4);
    let test = prop_oneof![
        values().prop_map(Test::In),
        values().prop_map(Test::NotIn),
        Just(Test::Present),
        Just(Test::Absent),
    ];
    ("[a-z0-9][a-z0-9._/-]{0,8}", test).prop_map(|(key, test)| Requirement { key, test })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(parts in prop::collection::vec(requirement(), 0..5)) {
        let text = if parts.is_empty() {
            "*".to_owned()
        } else {
            parts.iter().map(Requirement::to_string).collect::<Vec<_>>().join(",")
        };
        let selector: Selector = text.parse().unwrap();
        prop_assert_eq!(selector.requirements(), &parts[..]);
        prop_assert_eq!(selector.to_string(), text);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        drop(text.parse::<Selector>());
    }
}
