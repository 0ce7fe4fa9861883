//! Audit logs that rotate: what a snapshot has seen stays, whatever rotation does to the host.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::process::Running;
use rustix::process::Signal;
use serde_json::Value;

const NOT_BUILT: &str = "dr-agent is not built";

/// A chained log with rotated segments, kept for `keep_for`.
fn protected(keep_for: &str) -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host.with_log("audit", &unpacked.log());
    let kept = format!("keep_for = {keep_for:?}\n");
    let host = host.with_lines(if keep_for.is_empty() { "" } else { &kept });
    host.set_up();
    Some((host, unpacked))
}

/// Rotated segments on the host, oldest first by number.
fn rotated(unpacked: &Unpacked) -> Vec<PathBuf> {
    let folder = unpacked.log().parent().unwrap().to_owned();
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("audit.log.")
        })
        .collect();
    found.sort();
    found.reverse();
    found
}

fn id(snapshot: &Value) -> String {
    snapshot["id"].as_str().unwrap().to_owned()
}

/// The one file below `carried`, if there is one.
fn carried(restored: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(restored.join("carried")).ok()?;
    let only = entries.next()?.unwrap().path();
    assert!(entries.next().is_none(), "one segment is carried");
    Some(only)
}

#[test]
fn a_segment_that_rotation_removed_stays_in_snapshots() {
    let case = "a_segment_that_rotation_removed_stays_in_snapshots";
    let Some((host, unpacked)) = protected("400d") else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _first = host.snapshot();
    let oldest = rotated(&unpacked).remove(0);
    let bytes = std::fs::read(&oldest).unwrap();
    std::fs::remove_file(&oldest).unwrap();

    let second = host.snapshot();
    assert_eq!(second["suspect"], Value::Null, "{second:#}");
    let notes = second["sources"][0]["notes"].to_string();
    assert!(
        notes.contains("carried over: ") && notes.contains("aged-out"),
        "{notes}"
    );
    let restored = host.restore(&id(&second), "audit");
    assert_eq!(std::fs::read(carried(&restored).unwrap()).unwrap(), bytes);

    // The third finds it under the name that stays, and need not read it again.
    let third = host.snapshot();
    let restored = host.restore(&id(&third), "audit");
    assert_eq!(std::fs::read(carried(&restored).unwrap()).unwrap(), bytes);
    for kind in ["verify", "restore"] {
        let report = host
            .run(&["drill", "--kind", kind, "--output", "json"])
            .expect_code(0)
            .json();
        let audit = report["sources"][0]["checks"].to_string();
        assert!(audit.contains("1 carried over from before"), "{report:#}");
    }
}

#[test]
fn a_segment_is_let_go_when_its_time_is_over_or_nobody_asked_to_keep_it() {
    let case = "a_segment_is_let_go_when_its_time_is_over_or_nobody_asked_to_keep_it";
    for keep_for in ["", "0s"] {
        let Some((host, unpacked)) = protected(keep_for) else {
            return dr_tests::skip(case, NOT_BUILT);
        };
        let _first = host.snapshot();
        std::fs::remove_file(rotated(&unpacked).remove(0)).unwrap();
        let second = host.snapshot();
        assert_eq!(carried(&host.restore(&id(&second), "audit")), None);
    }
}

/// A snapshot of other sources in between must not break the thread.
#[test]
fn a_segment_is_carried_past_a_snapshot_of_other_sources() {
    let case = "a_segment_is_carried_past_a_snapshot_of_other_sources";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let unpacked = fixtures::small().last().unwrap().unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log())
        .with_lines("keep_for = \"400d\"\n");
    host.set_up();
    let _both = host.snapshot();
    let oldest = rotated(&unpacked).remove(0);
    let bytes = std::fs::read(&oldest).unwrap();
    std::fs::remove_file(&oldest).unwrap();
    let _one = host.run(&["snapshot", "memory"]).expect_code(0);
    let third = host
        .run(&["snapshot", "audit", "--output", "json"])
        .expect_code(0)
        .json();
    let restored = host.restore(&id(&third), "audit");
    assert_eq!(std::fs::read(carried(&restored).unwrap()).unwrap(), bytes);
}

/// Damage to an old snapshot costs what it held, and is told; it does not stop the new one.
#[test]
fn a_segment_that_can_not_be_read_back_is_told_and_does_not_stop_the_snapshot() {
    let case = "a_segment_that_can_not_be_read_back_is_told_and_does_not_stop_the_snapshot";
    let Some((host, unpacked)) = protected("400d") else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let _first = host.snapshot();
    let oldest = rotated(&unpacked).remove(0);
    std::fs::remove_file(&oldest).unwrap();
    for pack in dr_tests::files::files(&host.repository_dir()) {
        if pack.starts_with("packs") {
            let path = host.repository_dir().join(pack);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.iter_mut().skip(64).for_each(|byte| *byte ^= 0xff);
            dr_tests::files::overwrite(&path, &bytes);
        }
    }
    let second = host.run(&["snapshot", "--output", "json"]).expect_code(3).json();
    let damage = second["sources"][0]["damage"].to_string();
    assert!(damage.contains("carried over"), "{second:#}");
}

/// `copytruncate` right after the cut: what was captured is held by a copy of our own.
#[test]
fn a_log_that_is_truncated_in_place_after_the_cut_is_stored_whole() {
    let case = "a_log_that_is_truncated_in_place_after_the_cut_is_stored_whole";
    let Some(host) = Host::new() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let log = host.path().join("notes.log");
    let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    for line in 0..2000 {
        writeln!(file, "{{\"line\":{line},\"word\":\"{:x}\"}}", line * 7919).unwrap();
    }
    let captured = std::fs::read(&log).unwrap();
    let host = host.with_lines(&format!(
        "\n[[source]]\nname = \"notes\"\nkind = \"audit-log\"\npath = {:?}\n",
        log.display().to_string()
    ));
    host.set_up();
    let mut paused = host.command(&["snapshot", "--output", "json"]);
    paused.env("DR_FAILPOINT_STOP", "snapshot.cut");
    let running = Running::start(&mut paused);
    running.until_stopped();
    OpenOptions::new().write(true).truncate(true).open(&log).unwrap();
    running.signal(Signal::CONT);
    let snapshot = running.finish(Duration::from_secs(120)).expect_code(0).json();
    assert!(
        snapshot["sources"][0]["pins"]
            .as_str()
            .unwrap()
            .contains("copy 1")
            || snapshot["sources"][0]["pins"]
                .as_str()
                .unwrap()
                .contains("reflink 1"),
        "{snapshot:#}"
    );
    let restored = host.restore(&id(&snapshot), "notes").join("notes.log");
    assert_eq!(std::fs::read(restored).unwrap(), captured);
}
