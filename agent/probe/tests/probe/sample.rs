//! The sample application.

use std::process::Command;

use dr_probe_wire::job::{Job, Location};

use crate::rig::{create, everything, facts, sample, sample_facts};

#[test]
fn one_seed_writes_the_same_rows() {
    let other = tempfile::tempdir().unwrap();
    create(other.path(), 1200);
    let job = everything(Location::Directory {
        path: other.path().join("rocketship-db"),
    });
    let other_facts = facts(
        &Job {
            prewarm: false,
            queries: None,
            ..job
        },
        None,
    );
    for (a, b) in sample_facts().tables.iter().zip(&other_facts.tables) {
        assert_eq!(
            a.content.as_ref().unwrap().digest,
            b.content.as_ref().unwrap().digest,
            "{}",
            a.path
        );
    }
    let log = |folder: &std::path::Path| std::fs::read(folder.join("logs/audit.log")).unwrap();
    assert_eq!(log(sample()), log(other.path()));
}

#[test]
fn the_writer_acknowledges_what_is_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path(), 600);
    let written = Command::new(env!("CARGO_BIN_EXE_dr-sample"))
        .arg("write")
        .arg(folder.path())
        .args(["--rounds", "14", "--pace", "0"])
        .output()
        .unwrap();
    assert!(
        written.status.success(),
        "{}",
        String::from_utf8_lossy(&written.stderr)
    );
    let lines: Vec<serde_json::Value> = String::from_utf8(written.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.iter().rev().find(|line| line["table"] == "memory").unwrap();
    let found = facts(
        &Job::open(Location::Directory {
            path: folder.path().join("rocketship-db"),
        }),
        None,
    );
    let memory = found.table("memory.lance").unwrap();
    assert_eq!(
        (memory.version, memory.rows),
        (last["version"].as_u64(), last["rows"].as_u64())
    );
    assert!(lines.iter().any(|line| line["op"] == "optimize"));
}
