//! Copies are consistent and whole, or said not to be.

use super::{Bench, open};
use crate::Store;
use crate::audit::Chain;

#[tokio::test]
async fn a_copy_opens_as_the_same_store() {
    let bench = Bench::new().await;
    bench.store.epochs().begin("0.1.0").await.unwrap();
    let run = bench.run(&["db-1", "db-2"], 0).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().join("state.db");
    bench.store.copy_to(&to).await.unwrap();
    let checked = Store::check_copy(&to).await.unwrap();
    assert_eq!((checked.epoch, checked.runs), (1, 1));
    assert!(matches!(checked.audit, Chain::Intact { .. }));
    let copy = open(elsewhere.path(), bench.clock.clone()).await;
    assert_eq!(
        copy.runs().get(run.id).await.unwrap(),
        bench.store.runs().get(run.id).await.unwrap()
    );
    assert_eq!(
        copy.tasks().of_run(run.id).await.unwrap(),
        bench.store.tasks().of_run(run.id).await.unwrap()
    );
    assert_eq!(
        copy.audit().head().await.unwrap(),
        bench.store.audit().head().await.unwrap()
    );
}

#[tokio::test]
async fn a_copy_over_something_is_refused() {
    let bench = Bench::new().await;
    bench.run(&["db-1"], 0).await;
    let to = bench.folder.path().join("there");
    std::fs::write(&to, b"somebody's file").unwrap();
    assert!(bench.store.copy_to(&to).await.is_err());
    assert_eq!(std::fs::read(&to).unwrap(), b"somebody's file");
}

#[tokio::test]
async fn a_damaged_copy_is_found() {
    let bench = Bench::new().await;
    bench.run(&["db-1"], 0).await;
    let to = bench.folder.path().join("copy");
    bench.store.copy_to(&to).await.unwrap();
    let mut bytes = std::fs::read(&to).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    std::fs::write(&to, &bytes).unwrap();
    assert!(Store::check_copy(&to).await.is_err());
}

#[tokio::test]
async fn a_url_that_names_no_store_is_said_to_name_none() {
    for url in [
        "postgres://x/y",
        "sqlite://relative.db",
        "sqlite:///",
        "/var/lib/state.db",
    ] {
        let error = Store::open(url, super::HandClock::new()).await.unwrap_err();
        assert!(
            error.to_string().contains("sqlite:///absolute/path/state.db"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn nobody_else_can_read_the_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new().await;
    bench.run(&["db-1"], 0).await;
    for entry in std::fs::read_dir(bench.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = Store::open("sqlite:///nowhere/at/all/state.db", super::HandClock::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all/state.db"), "{error}");
}
