use std::fs::{File, FileTimes};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::storage::conformance;

fn store() -> (tempfile::TempDir, LocalStorage) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStorage::new(dir.path().join("repository"), &Timeouts::default()).unwrap();
    (dir, store)
}

#[tokio::test]
async fn conforms() {
    let (_dir, store) = store();
    conformance::check(&store).await.unwrap();
    conformance::check_pages(&store).await.unwrap();
}

#[tokio::test]
async fn what_a_crash_left_is_hidden_and_swept_when_it_is_old() {
    let (dir, store) = store();
    let key = Key::new("packs/aa/one");
    store
        .put(&key, Bytes::from_static(b"x"), PutMode::Overwrite)
        .await
        .unwrap();
    let folder = dir.path().join("repository/packs/aa");
    let (old, young) = (folder.join(".tmp-old"), folder.join(".tmp-young"));
    for path in [&old, &young] {
        fs::write(path, b"half").unwrap();
    }
    let written = fs::metadata(&young).unwrap().modified().unwrap();
    let times = FileTimes::new().set_modified(written - Duration::from_hours(25));
    File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_times(times)
        .unwrap();

    let listed: Vec<ObjectMeta> = store.list("").try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);

    let next_process = LocalStorage::new(dir.path().join("repository"), &Timeouts::default()).unwrap();
    next_process
        .put(&key, Bytes::from_static(b"x"), PutMode::Overwrite)
        .await
        .unwrap();
    assert!(!old.exists());
    assert!(young.exists(), "another process may still be writing it");
}

#[tokio::test]
async fn files_are_private() {
    let (dir, store) = store();
    store
        .put(&Key::new("keys/one"), Bytes::from_static(b"x"), PutMode::Create)
        .await
        .unwrap();
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (
            mode("repository"),
            mode("repository/keys"),
            mode("repository/keys/one")
        ),
        (0o700, 0o700, 0o600)
    );
}

#[tokio::test]
async fn a_file_where_a_folder_belongs_is_a_configuration_error() {
    let (dir, store) = store();
    fs::create_dir(dir.path().join("repository")).unwrap();
    fs::write(dir.path().join("repository/packs"), b"").unwrap();
    let answer = store
        .put(&Key::new("packs/aa/one"), Bytes::new(), PutMode::Overwrite)
        .await;
    assert!(matches!(answer, Err(Error::Configuration { .. })), "{answer:?}");
    let answer = LocalStorage::new(dir.path().join("repository/packs"), &Timeouts::default());
    assert!(matches!(answer, Err(Error::Configuration { reason }) if reason.contains("is not a directory")));
}

#[test]
fn errors_of_the_system_have_classes() {
    let class = |code: i32| {
        let error = io::Error::from_raw_os_error(code);
        failure::classify(
            Operation::Put,
            "packs/aa/one",
            Path::new("/srv/packs/aa/one"),
            &error,
        )
    };
    use rustix::io::Errno;
    for code in [Errno::NOSPC, Errno::DQUOT] {
        assert!(
            matches!(class(code.raw_os_error()), Error::NoSpace { .. }),
            "{code}"
        );
    }
    for code in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
        assert!(
            matches!(class(code.raw_os_error()), Error::Denied { .. }),
            "{code}"
        );
    }
    for code in [Errno::STALE, Errno::TIMEDOUT] {
        assert!(!class(code.raw_os_error()).is_permanent(), "{code}");
    }
    let damaged = class(Errno::IO.raw_os_error());
    assert!(
        matches!(&damaged, Error::Other { reason, .. } if reason.contains("/srv/packs/aa/one")),
        "{damaged:?}"
    );
}
