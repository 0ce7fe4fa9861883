use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use dr_store::audit::Chain;

use super::super::testing::{Bench, open};
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
    assert_eq!(
        store.hosts().list().await.unwrap(),
        vault.bench.store.hosts().list().await.unwrap()
    );
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
