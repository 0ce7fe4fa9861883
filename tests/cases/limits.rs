//! The host's own work comes first: priority, cores, and a hook that says when it is too busy.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::process::Running;
use rustix::process::Signal;

const NOT_BUILT: &str = "dr-agent is not built";

/// What a process has of the host: its nice value, its I/O class, its cores. In words that no locale changes, and by
/// the cores that it may run on, whatever OpenMP is told.
const STANDING: &str = "export LC_ALL=C; unset OMP_NUM_THREADS OMP_THREAD_LIMIT; nice; ionice; nproc";

/// A host whose busy hook is this script.
fn with_hook(script: &str) -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let path = host.path().join("hook.sh");
    std::fs::write(&path, format!("#!/bin/sh\ncd {:?}\n{script}\n", host.path())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let hook = format!(
        "\n[limits]\ncpu = 1.0\nbusy_hook = \"p99\"\n[hook]\np99 = {{ command = [{:?}], timeout = \"2m\" }}\n",
        path.display().to_string()
    );
    let host = host
        .with_database("memory", &unpacked.database())
        .with_lines(&hook);
    host.set_up();
    Some((host, unpacked))
}

/// What the hook wrote down: it inherits what the agent's own threads have.
fn noted(host: &Host) -> Vec<String> {
    let path: PathBuf = host.path().join("noted");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _absent = std::fs::remove_file(path);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn work_yields_to_the_host_unless_told_otherwise() {
    let case = "work_yields_to_the_host_unless_told_otherwise";
    let Some((host, _unpacked)) = with_hook(&format!("({STANDING}) > noted")) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mine = std::process::Command::new("sh")
        .args(["-c", STANDING])
        .output()
        .unwrap();
    let mine = String::from_utf8_lossy(&mine.stdout).into_owned();
    let mine: Vec<&str> = mine.lines().collect();
    // Whoever runs the tests may yield more than that already.
    let nice = mine[0].parse::<i32>().unwrap().max(10).to_string();
    let _snapshot = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    assert_eq!(noted(&host), [nice.as_str(), "idle", "1"]);
    let _snapshot = host
        .run(&["snapshot", "--no-facts", "--full-speed"])
        .expect_code(0);
    assert_eq!(noted(&host), mine);
    let doctor = host.run(&["doctor"]).expect_code(0);
    let lowered = format!("nice {nice}, I/O class idle, 1 core");
    doctor.expect_said(&[&lowered, "busy hook", "can spare"]);
}

#[test]
fn a_busy_host_is_left_in_peace() {
    let case = "a_busy_host_is_left_in_peace";
    let Some((host, _unpacked)) = with_hook("test ! -e busy || { echo p99 is 80 ms >&2; exit 1; }") else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let snapshot = host.snapshot();
    std::fs::write(host.path().join("busy"), "").unwrap();
    for arguments in [
        &["snapshot"][..],
        &["drill"],
        &["repository", "check"],
        &["check", "dr-integrity"],
    ] {
        let refused = host.run(arguments).expect_code(2);
        refused.expect_said(&["busy", "p99", "80 ms"]);
    }
    let refused = host.run(&["snapshot", "--output", "json"]).expect_code(2);
    assert!(refused.stderr.contains("\"host_busy\""), "{refused:?}");
    let listed = host
        .run(&["snapshots", "list", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#}");
    // A restore is what a busy host may be waiting for.
    let _restored = host.restore(snapshot["id"].as_str().unwrap(), "memory");
    let doctor = host.run(&["doctor"]).expect_code(0);
    doctor.expect_said(&["the host is busy", "80 ms"]);
}

/// A single bad answer is asked about again.
#[test]
fn one_bad_answer_is_forgiven() {
    let case = "one_bad_answer_is_forgiven";
    let Some((host, _unpacked)) = with_hook("echo >> noted; test $(wc -l < noted) -gt 1") else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _snapshot = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    // Once more, and perhaps again while the work went on.
    assert!(noted(&host).len() >= 2);
}

/// The hook turns bad while a snapshot is stored: it stops with what it has, and the next goes on from there.
#[test]
fn a_host_that_becomes_busy_stops_the_work_at_a_safe_point() {
    let case = "a_host_that_becomes_busy_stops_the_work_at_a_safe_point";
    let Some((host, _unpacked)) = with_hook("test ! -e busy || { echo p99 is 80 ms >&2; exit 1; }") else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    // So slow that the hook is asked twice meanwhile, whatever the machine.
    let mut slow = host.command(&["snapshot", "--no-facts"]);
    slow.env("DR_AGENT_LIMITS_UPLOAD_DEFAULT", "4 KiB/s");
    slow.env("DR_FAILPOINT_STOP", "snapshot.cut");
    let running = Running::start(&mut slow);
    running.until_stopped();
    std::fs::write(host.path().join("busy"), "").unwrap();
    running.signal(Signal::CONT);
    let stopped = running.finish(Duration::from_secs(240)).expect_code(2);
    stopped.expect_said(&["busy"]);
    let listed = host
        .run(&["snapshots", "list", "--output", "json"])
        .expect_code(0)
        .json();
    assert_eq!(listed, serde_json::json!([]), "nothing was committed");
    std::fs::remove_file(host.path().join("busy")).unwrap();
    let taken = host
        .run(&["snapshot", "--no-facts", "--output", "json"])
        .expect_code(0)
        .json();
    let check = host.run(&["repository", "check", "--full"]).expect_code(0);
    drop(check);
    let figure = |name: &str| taken["stats"][name].as_u64().unwrap();
    assert!(
        figure("bytes") > 0 && figure("bytes_new") <= figure("bytes"),
        "{taken:#}"
    );
}
