use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use dr_proto::model::TaskState;
use dr_store::audit::Chain;
use dr_store::results::Filed;

use super::super::dispatch::Caps;
use super::super::dispatcher::Dispatcher;
use super::super::gateway::Gateway;
use super::super::scheduler::Scheduler;
use super::super::testing::{self, Bench, host, open};
use super::*;

const NIGHTLY: &str = r#"
schema = 1
name = "nightly"
schedule = { cron = "0 3 * * *", timezone = "UTC" }
drill = { kind = "snapshot" }
"#;

struct Vault {
    bench: Bench,
    folder: tempfile::TempDir,
    identity: PathBuf,
    backup: Backup,
}

async fn vault(keep: usize) -> Vault {
    let bench = Bench::new().await;
    bench.attach("db-1", &["env=prod"]).await;
    bench.apply(NIGHTLY).await;
    bench.store.epochs().begin("0.1.0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = age::x25519::Identity::generate();
    let identity = folder.path().join("identity.txt");
    fs::write(&identity, key.to_string().expose_secret()).unwrap();
    let options = Options {
        to: folder.path().join("copies"),
        every: Duration::from_secs(3_600),
        keep,
        recipients: vec![key.to_public().to_string()],
    };
    let backup = Backup::new(bench.store.clone(), options).unwrap();
    Vault {
        bench,
        folder,
        identity,
        backup,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_backed_up_is_what_is_recovered() {
    let vault = vault(3).await;
    let made = vault.backup.pass().await.unwrap();
    assert!(
        matches!(&made, BackedUp::Made { name, .. } if name == "state-20261126T020000Z.db.age"),
        "{made}"
    );
    let copy = vault.folder.path().join("copies/state-20261126T020000Z.db.age");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/state.db", elsewhere.path().display());
    let clock = vault.bench.clock.clone();
    let recovered = recover(&copy, &vault.identity, &url, "ana", clock.clone())
        .await
        .unwrap();
    assert_eq!(recovered.checked.epoch, 1);
    assert!(matches!(recovered.checked.audit, Chain::Intact { .. }));
    let store = open(elsewhere.path(), clock).await;
    assert_eq!(
        store.plans().list().await.unwrap(),
        vault.bench.store.plans().list().await.unwrap()
    );
    let hosts = store.hosts().list().await.unwrap();
    assert_eq!(
        hosts[0].labels,
        vault.bench.store.hosts().list().await.unwrap()[0].labels
    );
    assert!(hosts[0].recalled, "its agent knows what happened since the copy");
    let newest = store.audit().list(0, 1).await.unwrap().remove(0);
    assert_eq!(newest.action, "store.recover");
    assert!(matches!(
        store.audit().verify(None).await.unwrap(),
        Chain::Intact { .. }
    ));
}

#[tokio::test]
async fn a_live_store_is_never_overwritten() {
    let vault = vault(3).await;
    vault.backup.now().await.unwrap();
    let copy = vault.folder.path().join("copies/state-20261126T020000Z.db.age");
    let url = format!("sqlite://{}", vault.bench.store.path().display());
    let refused = recover(&copy, &vault.identity, &url, "ana", vault.bench.clock.clone())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Exists(_)), "{refused}");
    // The journal of a store that is gone may hold its last commits.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("state.db-wal"), b"commits").unwrap();
    let url = format!("sqlite://{}/state.db", elsewhere.path().display());
    let refused = recover(&copy, &vault.identity, &url, "ana", vault.bench.clock.clone())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Exists(_)), "{refused}");
}

#[tokio::test]
async fn a_wrong_key_or_a_damaged_copy_leaves_no_store() {
    let vault = vault(3).await;
    vault.backup.now().await.unwrap();
    let copy = vault.folder.path().join("copies/state-20261126T020000Z.db.age");
    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/state.db", elsewhere.path().display());
    let other = elsewhere.path().join("other.txt");
    fs::write(
        &other,
        age::x25519::Identity::generate().to_string().expose_secret(),
    )
    .unwrap();
    let refused = recover(&copy, &other, &url, "ana", vault.bench.clock.clone())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Decrypt { .. }), "{refused}");
    let mut bytes = fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let damaged = recover(&copy, &vault.identity, &url, "ana", vault.bench.clock.clone()).await;
    assert!(damaged.is_err());
    assert_eq!(names(elsewhere.path()), ["other.txt"]);
}

#[tokio::test]
async fn a_copy_is_made_once_an_hour_and_the_oldest_go() {
    let vault = vault(2).await;
    let folder = vault.folder.path().join("copies");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("notes.txt"), b"somebody's").unwrap();
    // What a killed coordinator left.
    fs::write(folder.join("state-20261125T000000Z.db.age.part"), b"half").unwrap();
    vault.backup.pass().await.unwrap();
    assert!(matches!(
        vault.backup.pass().await.unwrap(),
        BackedUp::Fresh { .. }
    ));
    for _ in 0..3 {
        vault.bench.clock.pass(3_600);
        assert!(matches!(
            vault.backup.pass().await.unwrap(),
            BackedUp::Made { .. }
        ));
    }
    assert_eq!(
        names(&folder),
        [
            "notes.txt",
            "state-20261126T040000Z.db.age",
            "state-20261126T050000Z.db.age"
        ]
    );
    let beside = names(vault.bench.folder.path());
    assert!(
        !beside.iter().any(|name| name.contains(CLEAR)),
        "no clear copy is left: {beside:?}"
    );
}

#[test]
fn a_backup_for_nobody_is_refused() {
    assert!(matches!(parse_recipients(&[]), Err(Error::NoRecipient)));
    let typo = parse_recipients(&["age1nope".to_owned()]).unwrap_err();
    assert!(typo.to_string().contains("`age1nope`"), "{typo}");
}

#[tokio::test]
async fn what_happened_after_the_copy_is_learnt_from_the_agents_and_not_done_again() {
    let vault = vault(3).await;
    let bench = &vault.bench;
    bench.clock.set("2026-11-26T03:00:00Z");
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    vault.backup.now().await.unwrap();
    // After the copy: the task is handed out, done, and acknowledged. Then the host with the store burns down.
    let caps = Caps {
        tasks: 9,
        per_host: 1,
        per_label: std::collections::BTreeMap::new(),
    };
    let gateway: Arc<dyn Gateway> = bench.gateway.clone();
    Dispatcher::new(bench.store.clone(), Arc::clone(&gateway), caps.clone(), 1)
        .pass()
        .await
        .unwrap();
    let task = bench
        .store
        .tasks()
        .at_work(&host("db-1"))
        .await
        .unwrap()
        .remove(0);
    let remembered = testing::result(&task, TaskState::Passed, bench.now());
    bench.gateway.sent();

    let elsewhere = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/state.db", elsewhere.path().display());
    let copy = vault.folder.path().join("copies/state-20261126T030000Z.db.age");
    recover(&copy, &vault.identity, &url, "ana", bench.clock.clone())
        .await
        .unwrap();
    let store = open(elsewhere.path(), bench.clock.clone()).await;
    let epoch = store.epochs().begin("0.1.0").await.unwrap().number;
    let dispatcher = Dispatcher::new(store.clone(), gateway, caps, epoch);
    assert_eq!(dispatcher.pass().await.unwrap().sent, 0);
    let waiting = store.tasks().get(task.id).await.unwrap().unwrap();
    assert!(
        waiting.explanation.contains("recovered from a copy"),
        "{}",
        waiting.explanation
    );
    let filed = store.results().file(&host("db-1"), &remembered).await.unwrap();
    assert_eq!(filed, Filed::Recorded);
    store.hosts().set_history_filed(&host("db-1")).await.unwrap();
    assert_eq!(dispatcher.pass().await.unwrap().sent, 0);
    assert!(bench.gateway.sent().is_empty());
    assert_eq!(
        store.tasks().get(task.id).await.unwrap().unwrap().state,
        TaskState::Passed
    );
}
