use std::fs;

use sha2::{Digest, Sha256};

use super::*;
use crate::fixture;

#[test]
fn finds_chain_rotation_and_time_of_logs_written_by_python() {
    for archive in fixture::shared() {
        let folder = tempfile::tempdir().unwrap();
        fixture::unpack(&archive, folder.path());
        let log = folder.path().join("logs/audit.log");
        let found = sniff(&log).unwrap().unwrap();
        assert_eq!(found.chain, Some(ChainConfig::default()));
        assert_eq!((found.rotated.as_str(), found.segments), ("audit.log.*", 3));
        assert_eq!(found.time_field.as_deref(), Some("ts"));
        assert_eq!(found.confidence, Confidence::High);
        assert_eq!(
            sniff(&log.with_file_name("audit.log.1")).unwrap(),
            None,
            "rotated, so no log of its own"
        );
        assert_eq!(sniff(&folder.path().join("facts.json")).unwrap(), None);
    }
}

#[test]
fn finds_chains_of_other_forms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut previous = "sha256:".to_owned() + &"0".repeat(64);
    let mut text = String::new();
    for number in 0..20 {
        let record =
            format!(r#"{{"n": {number}, "at": "2026-01-01T00:00:{number:02}Z", "parent": "{previous}"}}"#);
        previous = format!("sha256:{}", hex::encode(Sha256::digest(&record)));
        text += &record.replace('}', &format!(r#", "digest": "{previous}"}}"#));
        text.push('\n');
    }
    fs::write(&path, &text).unwrap();
    let chain = sniff(&path).unwrap().unwrap().chain.unwrap();
    assert_eq!(
        (chain.hash.as_str(), chain.previous.as_str()),
        ("digest", "parent")
    );
    assert_eq!(
        (chain.canonical, chain.input),
        (Canonical::RawWithoutHash, Input::Record)
    );

    fs::write(&path, text.replace("2026", "2025")).unwrap();
    let chain = sniff(&path).unwrap().unwrap().chain.unwrap();
    assert_eq!(chain.canonical, Canonical::LinksOnly);
}

#[test]
fn tells_data_sets_logs_and_other_files_apart() {
    let folder = tempfile::tempdir().unwrap();
    let sniffed = |text: &str| {
        let path = folder.path().join("some");
        fs::write(&path, text).unwrap();
        sniff(&path).unwrap().map(|found| found.confidence)
    };
    assert_eq!(sniffed("{\"a\":1}\n{\"a\":2}\n"), Some(Confidence::Low));
    assert_eq!(
        sniffed("{\"time\":1772378200,\"a\":1}\n{\"time\":1772378201,\"a\":2}\n"),
        Some(Confidence::Medium)
    );
    for other in [
        "",
        "{\"a\":1}",
        "plain text\n",
        "{\n\"a\": 1\n}\n",
        "[1]\n[2]\n",
        "\u{1f}\u{8b}\n",
    ] {
        assert_eq!(sniffed(other), None, "{other:?}");
    }
    assert_eq!(sniff(folder.path()).unwrap(), None);
    assert_eq!(sniff(&folder.path().join("missing")).unwrap(), None);
}
