//! Hosts as they are: few descriptors, read-only mounts, users that may only read, one file system in two places. A
//! snapshot works there, or says why it does not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::mount::Mount;
use dr_tests::s3_server::{Behaviour, S3Server};
use serde_json::Value;

const NOT_BUILT: &str = "dr-agent is not built";
const NOT_ROOT: &str = "nothing can be mounted here; only root can";

/// Runs the agent as `nobody`.
const AS_NOBODY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--no-new-privs",
    "--",
];

fn fixture() -> Unpacked {
    fixtures::small().last().unwrap().unpack()
}

/// Takes a snapshot under `wrapper` and restores it; every file is as it was, and none was touched.
#[track_caller]
fn snapshot_and_restore(host: &Host, wrapper: &[&str], database: &Path) -> Value {
    let before = (files::hashes(database), files::stats(database));
    let run = |arguments: &[&str]| match wrapper {
        [] => host.run(arguments),
        wrapper => host.finish(&mut host.command_under(wrapper, arguments)),
    };
    let snapshot = run(&["snapshot", "--no-facts", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(snapshot["exact"], true, "{snapshot:#}");
    assert_eq!(files::stats(database), before.1, "nothing is touched");
    let target = host.path().join("restored");
    let text = target.display().to_string();
    let _restored = run(&["restore", "--to", &text]).expect_code(0);
    let restored = files::hashes(&target.join("memory"));
    assert!(!restored.is_empty());
    for (path, hash) in restored {
        assert_eq!(before.0.get(&path), Some(&hash), "{}", path.display());
    }
    snapshot
}

fn pins(snapshot: &Value) -> String {
    snapshot["sources"][0]["pins"].as_str().unwrap().to_owned()
}

#[test]
fn few_descriptors_mean_copies_and_doctor_says_so() {
    let case = "few_descriptors_mean_copies_and_doctor_says_so";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let unpacked = fixture();
    // Where blocks can be shared nothing else would be tried.
    let host = host
        .with_database("memory", &unpacked.database())
        .with_lines("pin = [\"descriptor\", \"copy\"]\n");
    host.set_up();
    let few = &["prlimit", "--nofile=48:48"];
    let snapshot = snapshot_and_restore(&host, few, &unpacked.database());
    assert!(pins(&snapshot).contains("copy "), "{snapshot:#}");
    let doctor = host
        .finish(&mut host.command_under(few, &["doctor"]))
        .expect_code(0);
    doctor.expect_said(&["at most 48", "must copy the rest", "LimitNOFILE"]);
}

/// With neither descriptors nor a place for copies there is no cut, and the message says what would help.
#[test]
fn too_few_descriptors_for_the_only_way_allowed_are_named() {
    let case = "too_few_descriptors_for_the_only_way_allowed_are_named";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let unpacked = fixture();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_lines("pin = [\"descriptor\"]\n");
    host.set_up();
    let few = &["prlimit", "--nofile=48:48"];
    let refused = host
        .finish(&mut host.command_under(few, &["snapshot", "--no-facts"]))
        .expect_code(77);
    refused.expect_said(&["memory", "LimitNOFILE"]);
    let listed = host
        .run(&["snapshots", "list", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed:#}");
}

#[test]
fn a_source_on_a_read_only_mount_is_cut() {
    let case = "a_source_on_a_read_only_mount_is_cut";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some(mount) = Mount::memory(&host.path().join("mounted"), "256m") else {
        return dr_tests::skip(case, NOT_ROOT);
    };
    let database = mount.path().join("rocketship-db");
    files::copy(&fixture().database(), &database);
    mount.make_read_only();
    let host = host.with_database("memory", &database);
    host.set_up();
    let snapshot = snapshot_and_restore(&host, &[], &database);
    assert!(pins(&snapshot).contains("descriptor "), "{snapshot:#}");
}

/// Hard links are refused between two mounts of one file system, and so is everything else that writes there.
#[test]
fn a_source_through_another_mount_of_its_file_system_is_cut() {
    let case = "a_source_through_another_mount_of_its_file_system_is_cut";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    // The real place lies beside the state folder, on one file system with it.
    let real = host.path().join("real");
    files::copy(&fixture().database(), &real);
    let Some(mount) = Mount::bind(&real, &host.path().join("bound")) else {
        return dr_tests::skip(case, NOT_ROOT);
    };
    let host = host
        .with_database("memory", mount.path())
        .with_lines("pin = [\"hardlink\", \"descriptor\"]\n");
    host.set_up();
    let snapshot = snapshot_and_restore(&host, &[], mount.path());
    assert!(pins(&snapshot).contains("descriptor "), "{snapshot:#}");
    let doctor = host.run(&["doctor"]).expect_code(0);
    doctor.expect_said(&["held by descriptor", "hardlink"]);
}

/// A copy of the agent and a host that belong to `nobody`; the database stays root's.
fn of_nobody(host: Host, unpacked: &Unpacked) -> Option<Host> {
    let program = host.path().join("dr-agent");
    std::fs::copy(host.agent(), &program).unwrap();
    let host = host.with_agent(program);
    open_up(unpacked.root());
    let given = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(host.path())
        .output()
        .ok()?;
    // Also where the folder for temporary files is closed to others.
    let possible = Command::new(AS_NOBODY[0])
        .args(&AS_NOBODY[1..])
        .args(["test", "-x"])
        .arg(host.agent())
        .output()
        .ok()?;
    (given.status.success() && possible.status.success()).then_some(host)
}

/// Lets everybody read.
fn open_up(folder: &Path) {
    let opened = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(opened.status.success(), "{opened:?}");
}

#[test]
fn a_user_who_may_only_read_takes_snapshots() {
    let case = "a_user_who_may_only_read_takes_snapshots";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let unpacked = fixture();
    let Some(host) = of_nobody(host.with_database("memory", &unpacked.database()), &unpacked) else {
        return dr_tests::skip(case, "the user can not be changed here; only root can");
    };
    host.configure();
    open_up(&host.config());
    let recovery = host.recovery_key().display().to_string();
    let init = ["init", "--generate-recovery-key", &recovery];
    let _made = host
        .finish(&mut host.command_under(AS_NOBODY, &init))
        .expect_code(0);
    let snapshot = snapshot_and_restore(&host, AS_NOBODY, &unpacked.database());
    // Sharing blocks needs no more than reading, either, on file systems that can.
    let held = pins(&snapshot);
    assert!(
        held.contains("descriptor ") || held.contains("reflink "),
        "{snapshot:#}"
    );
    // What this user could not put back is said: owners are root's.
    let target = host.path().join("again").display().to_string();
    let again = host.finish(&mut host.command_under(AS_NOBODY, &["restore", "--to", &target]));
    again.expect_code(0).expect_said(&["owner"]);

    // A file that it may not even read is named, with what to do; nothing is committed.
    let hidden: PathBuf = files::files(&unpacked.database())
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "lance"))
        .unwrap();
    let path = unpacked.database().join(&hidden);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let refused = host
        .finish(&mut host.command_under(AS_NOBODY, &["snapshot", "--no-facts"]))
        .expect_code(77);
    refused.expect_said(&["memory", &path.file_name().unwrap().to_string_lossy()]);
}

/// A store whose policy lets agents add and nothing else: everything works, and what `doctor` leaves is no riddle.
#[test]
fn a_store_that_only_takes_is_enough() {
    let case = "a_store_that_only_takes_is_enough";
    let server = S3Server::with_bucket("bucket").unwrap();
    let Some(mut host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let unpacked = fixture();
    for (name, value) in server.environment() {
        host = host.with_environment(name, &value);
    }
    let host = host
        .with_repository("s3://bucket/host-1")
        .with_database("memory", &unpacked.database());
    server.behave(Behaviour::AppendOnly);
    host.set_up();
    let first = host.run(&["doctor"]).expect_code(0);
    first.expect_said(&["refused, as it should be", "doctor/probe stays behind"]);
    let again = host.run(&["doctor"]).expect_code(0);
    again.expect_said(&["create-only", "doctor/probe stays from an earlier look"]);
    for _ in 0..2 {
        let _snapshot = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    }
    let check = host.run(&["repository", "check", "--full"]).expect_code(0);
    assert!(!check.said().contains("doctor"), "{check:?}");
}
