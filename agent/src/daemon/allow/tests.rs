use std::os::unix::fs::symlink;

use dr_proto::model::{CheckKind, Existing, HoldTerms, HostName, SnapshotWork};
use tempfile::TempDir;

use super::*;
use crate::daemon::testing;

fn session(dir: &TempDir) -> Session {
    testing::session(
        dir.path(),
        &format!(
            "[repository]\nurl = \"file://{0}/repositories/{{host}}\"\n\
             [[source]]\nname = \"memory\"\nkind = \"lancedb\"\npath = \"/srv/*/db\"\n\
             [[source]]\nname = \"audit\"\nkind = \"audit-log\"\npath = \"/srv/audit.log\"\n\
             [allow]\ndrills = [\"verify\", \"restore\", \"failover\"]\nrestore_into = [\"{0}/into\"]\nhooks = [\"smoke\"]\n\
             [hook]\nsmoke = {{ command = [\"/bin/true\"] }}\nfree = {{ command = [\"/bin/true\"] }}\n",
            dir.path().display()
        ),
    )
}

fn restore(to: impl Into<PathBuf>) -> Work {
    Work::Restore(RestoreWork {
        from_host: None,
        snapshot: "latest".to_owned(),
        sources: Vec::new(),
        table: None,
        paths: Vec::new(),
        to: to.into(),
        existing: Existing::Refuse,
        fetch_all: false,
        plan_only: false,
    })
}

fn drill(kind: DrillKind) -> DrillWork {
    DrillWork {
        only: None,
        kind,
        snapshot: "latest".to_owned(),
        from_host: None,
        bytes_budget: None,
        hooks: Vec::new(),
        recall_tolerance: None,
        loss: None,
        bytes_cycle: None,
        content_cycle: None,
    }
}

#[track_caller]
fn refused(session: &Session, work: &Work, cause: &str, key: &str) {
    let refusal = judge(session, work).expect_err("it is refused");
    assert_eq!(refusal.cause, cause, "{}", refusal.message);
    assert!(
        refusal.message.contains(key),
        "`{key}` is not in: {}",
        refusal.message
    );
}

#[test]
fn a_restore_goes_nowhere_but_below_the_folders_that_the_host_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    let into = dir.path().join("into");
    refused(&session, &restore(into.join("a")), NOT_ALLOWED, "No such file");
    std::fs::create_dir(&into).expect("create");
    for good in [into.clone(), into.join("a"), into.join("a/b/c")] {
        assert_eq!(judge(&session, &restore(good)), Ok(()));
    }
    let key = "[allow].restore_into";
    refused(&session, &restore("/etc"), NOT_ALLOWED, key);
    refused(&session, &restore(dir.path().join("into-too")), NOT_ALLOWED, key);
    refused(&session, &restore(into.join("../elsewhere")), NOT_ALLOWED, "`..`");
    refused(&session, &restore("into/a"), NOT_ALLOWED, "not absolute");
}

#[test]
fn links_do_not_lead_a_restore_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    let (into, outside) = (dir.path().join("into"), dir.path().join("outside"));
    std::fs::create_dir(&into).expect("create");
    std::fs::create_dir(&outside).expect("create");
    symlink(&outside, into.join("link")).expect("link");
    symlink(dir.path().join("nowhere"), into.join("dangling")).expect("link");
    refused(
        &session,
        &restore(into.join("link")),
        NOT_ALLOWED,
        "[allow].restore_into",
    );
    refused(
        &session,
        &restore(into.join("link/deep/er")),
        NOT_ALLOWED,
        "[allow].restore_into",
    );
    refused(
        &session,
        &restore(into.join("dangling/x")),
        NOT_ALLOWED,
        "can not be found out",
    );
    symlink(into.join("inner"), into.join("inside")).expect("link");
    std::fs::create_dir(into.join("inner")).expect("create");
    assert_eq!(judge(&session, &restore(into.join("inside/x"))), Ok(()));
}

#[test]
fn drills_are_those_that_the_host_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    assert_eq!(judge(&session, &Work::Drill(drill(DrillKind::Restore))), Ok(()));
    refused(
        &session,
        &Work::Drill(drill(DrillKind::Negative)),
        NOT_ALLOWED,
        "[allow].drills",
    );
    refused(
        &session,
        &Work::Drill(drill(DrillKind::Failover)),
        NOT_ALLOWED,
        "[allow].failover",
    );
    let mut open = session.clone();
    open.config.allow.failover = true;
    refused(
        &open,
        &Work::Drill(drill(DrillKind::Failover)),
        NOT_SUPPORTED,
        "failover",
    );
}

#[test]
fn a_loss_is_rehearsed_where_something_is_restored() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    let lost = |kind| {
        Work::Drill(DrillWork {
            loss: Some(dr_proto::model::Loss::Corrupted),
            ..drill(kind)
        })
    };
    assert_eq!(judge(&session, &lost(DrillKind::Restore)), Ok(()));
    refused(&session, &lost(DrillKind::Verify), NOT_SUPPORTED, "corrupted");
}

#[test]
fn hooks_are_those_that_the_host_defines_and_allows() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut session = session(&dir);
    // The configuration refuses this at the start; nothing rests on that here.
    session.config.allow.hooks.push("ghost".to_owned());
    let with = |kind, hook: &str| {
        Work::Drill(DrillWork {
            hooks: vec![hook.to_owned()],
            ..drill(kind)
        })
    };
    assert_eq!(judge(&session, &with(DrillKind::Restore, "smoke")), Ok(()));
    refused(
        &session,
        &with(DrillKind::Restore, "free"),
        NOT_ALLOWED,
        "[allow].hooks",
    );
    refused(
        &session,
        &with(DrillKind::Restore, "ghost"),
        NOT_ALLOWED,
        "[hook]",
    );
    refused(
        &session,
        &with(DrillKind::Restore, "/bin/sh"),
        NOT_ALLOWED,
        "[allow].hooks",
    );
    refused(
        &session,
        &with(DrillKind::Verify, "smoke"),
        NOT_SUPPORTED,
        "restores nothing",
    );
}

#[test]
fn sources_are_those_that_the_host_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    let snapshot = |name: &str| {
        Work::Snapshot(SnapshotWork {
            sources: vec![name.to_owned()],
            ..SnapshotWork::default()
        })
    };
    let check = |kind, name: &str| {
        Work::Check(CheckWork {
            kind,
            sources: vec![name.to_owned()],
        })
    };
    for good in ["memory", "memory/a", "audit"] {
        assert_eq!(judge(&session, &snapshot(good)), Ok(()));
    }
    refused(&session, &snapshot("memo"), UNKNOWN_SOURCE, "memory, audit");
    assert_eq!(judge(&session, &check(CheckKind::VectorDb, "memory")), Ok(()));
    refused(
        &session,
        &check(CheckKind::VectorDb, "audit"),
        UNKNOWN_SOURCE,
        "of kind lancedb",
    );
}

#[test]
fn another_hosts_repository_is_found_only_where_the_own_url_says_how() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    let other: HostName = "db-2".parse().expect("a host");
    let repository = neighbour(&session.config, &other).expect("found");
    assert!(
        repository.url.ends_with("/repositories/db-2"),
        "{}",
        repository.url
    );
    assert!(
        session
            .config
            .repository
            .as_ref()
            .expect("own")
            .url
            .ends_with("/repositories/host-1")
    );
    let mut fixed = session.clone();
    fixed.config.repository.as_mut().expect("own").template = "file:///one".to_owned();
    let work = Work::Drill(DrillWork {
        from_host: Some(other),
        ..drill(DrillKind::Verify)
    });
    assert_eq!(judge(&session, &work), Ok(()));
    refused(&fixed, &work, NOT_ALLOWED, "[repository].url");
}

#[test]
fn holds_may_always_be_set_and_released_only_where_the_host_allows_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(&dir);
    let work = |change| {
        Work::Hold(HoldWork {
            snapshot: "latest".to_owned(),
            change,
        })
    };
    let set = work(HoldChange::Set(HoldTerms {
        reason: "OPS-1".to_owned(),
        lasts_seconds: None,
    }));
    let release = work(HoldChange::Release {
        reason: "done".to_owned(),
    });
    assert_eq!(judge(&session, &set), Ok(()));
    assert_eq!(judge(&session, &release), Ok(()));
    let mut closed = session.clone();
    closed.config.allow.release_holds = false;
    assert_eq!(judge(&closed, &set), Ok(()));
    refused(&closed, &release, NOT_ALLOWED, "[allow].release_holds");
    assert!(!stated(&closed.config).release_holds);
}
