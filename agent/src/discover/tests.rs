use super::*;
use crate::config::{Overrides, Surroundings, load};

fn touch(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("create");
    std::fs::write(path, text).expect("write");
}

#[test]
fn databases_and_logs_are_found_and_what_is_written_can_be_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for tenant in ["a", "b"] {
        touch(
            &dir.path()
                .join(tenant)
                .join("db/notes.lance/_versions/1.manifest"),
            "",
        );
    }
    let lines: String = (0..9)
        .map(|n| format!("{{\"time\":\"2026-01-01T00:00:0{n}Z\",\"event\":\"login\"}}\n"))
        .collect();
    touch(&dir.path().join("logs/audit.log"), &lines);
    touch(&dir.path().join("logs/plain.log"), "started\nstopped\n");
    touch(&dir.path().join("sets/rows.jsonl"), "{\"a\":1}\n{\"a\":2}\n");
    let found = search(&[dir.path().to_owned()], 4, &CancellationToken::new()).expect("search");
    let names: Vec<&str> = found.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["db", "db-2", "audit"], "{found:?}");
    assert_eq!(
        found.passed_over.len(),
        1,
        "the data set is named: {:?}",
        found.passed_over
    );

    let text = configuration(&found.sources, &Preset::default());
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, &text).expect("write");
    let surroundings = Surroundings {
        hostname: "db-1".into(),
        ..Surroundings::default()
    };
    let config = load(Some(&file), &surroundings, &Overrides::default())
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(config.sources.len(), 3);
    assert_eq!(config.sources[2].time_field.as_deref(), Some("time"));
}

#[test]
fn names_are_plain_and_apart() {
    assert_eq!(name_of(Path::new("/x/my db (1)")), "my-db--1");
    assert_eq!(name_of(Path::new("/x/…")), "source");
    assert_eq!(name_of(Path::new("/x/audit.log")), "audit");
}

#[test]
fn a_cancelled_search_ends() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(
        search(&[dir.path().to_owned()], 4, &cancel),
        Err(Error::Cancelled)
    ));
}
