use std::collections::BTreeMap;

use dr_proto::model::{Outcome, Rung, Verdict};

use super::*;
use crate::drill::testing::{Rig, request};

/// Content by path.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| {
        (
            path.strip_prefix(folder).unwrap().to_owned(),
            std::fs::read(&path).unwrap(),
        )
    };
    files(folder).unwrap().into_iter().map(read).collect()
}

fn some_files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("live/a")).unwrap();
    std::fs::write(dir.path().join("live/a/small"), b"x").unwrap();
    std::fs::write(dir.path().join("live/large"), vec![7; 3 << 20]).unwrap();
    std::fs::set_permissions(dir.path().join("live/large"), Permissions::from_mode(0o400)).unwrap();
    dir
}

#[test]
fn every_loss_hits_every_file_and_chance_is_seeded() {
    for (_, loss) in Loss::WORDS {
        let (one, same) = (some_files(), some_files());
        let before = content(&one.path().join("live"));
        for dir in [&one, &same] {
            let (live, aside) = (dir.path().join("live"), dir.path().join("aside/live"));
            assert_eq!(lose(loss, &live, &aside, 5).unwrap(), 2);
        }
        let live = one.path().join("live");
        match loss {
            Loss::Deleted | Loss::Moved => assert!(!live.exists()),
            Loss::Truncated | Loss::Corrupted => {
                let after = content(&live);
                assert!(before.iter().all(|(path, bytes)| after[path] != *bytes), "{loss}");
                let shorter = |(path, bytes): (&PathBuf, &Vec<u8>)| after[path].len() < bytes.len();
                assert_eq!(before.iter().all(shorter), loss == Loss::Truncated);
                assert_eq!(after, content(&same.path().join("live")));
            }
        }
        if loss == Loss::Moved {
            assert_eq!(content(&one.path().join("aside/live")), before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_comes_back_right_from_every_loss() {
    let rig = Rig::new().await;
    let dir = tempfile::tempdir().unwrap();
    let plain = rig.drill(&dir, request(&dir)).await;
    let whole = content(&dir.path().join("scratch"));
    assert_eq!((plain.verdict, plain.loss), (Verdict::Passed, None));
    for (word, loss) in Loss::WORDS {
        let dir = tempfile::tempdir().unwrap();
        let asked = crate::drill::Request {
            loss: Some(loss),
            ..request(&dir)
        };
        let report = rig.drill(&dir, asked).await;
        assert_eq!(
            (report.verdict, report.loss),
            (Verdict::Passed, Some(loss)),
            "{report:#?}"
        );
        let restored = |check: &dr_proto::model::CheckResult| {
            check.rung == Rung::Restore && check.outcome == Outcome::Passed
        };
        assert!(
            report
                .sources
                .iter()
                .all(|source| source.checks.iter().any(restored))
        );
        assert_eq!(
            content(&dir.path().join("scratch")),
            whole,
            "{word}: the sources and nothing else"
        );
        let told = report.notes.iter().filter(|note| note.contains(word)).count();
        let expected = if loss == Loss::Deleted {
            0
        } else {
            report.sources.len()
        };
        assert_eq!(told, expected, "{:?}", report.notes);
        assert_ne!(report.binding, plain.binding);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ceiling_of_scratch_does_not_hold_is_not_restored() {
    let rig = Rig::new().await;
    let dir = tempfile::tempdir().unwrap();
    let asked = crate::drill::Request {
        scratch_room: Some(100),
        ..request(&dir)
    };
    let report = rig.drill(&dir, asked).await;
    assert_eq!(report.bytes.restored, 0);
    assert_eq!(report.verdict, Verdict::Inconclusive, "{report:#?}");
    assert!(content(&dir.path().join("scratch")).is_empty());
}
