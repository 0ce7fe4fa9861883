//! kill -9 at every point where it could matter: what was committed restores, the next run succeeds, nothing stays.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::process;

/// What a shell sees of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

#[test]
fn a_snapshot_killed_anywhere_loses_nothing() {
    let case = "a_snapshot_killed_anywhere_loses_nothing";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    add_lines(&host, 0);
    let first = id(&host.snapshot());
    let committed = std::fs::read(notes(&host)).unwrap();
    let database = files::hashes(&host.restore(&first, "memory"));
    part_of(&database, &files::hashes(&unpacked.database()));
    std::fs::remove_dir_all(host.path().join("restored")).unwrap();
    let core = dr_vault::FAILPOINTS
        .iter()
        .filter(|point| !point.starts_with("init."));
    let points = core
        .chain(dr_vault::backup::FAILPOINTS)
        .chain(dr_agent::snapshot::FAILPOINTS);
    for (number, point) in points.enumerate() {
        add_lines(&host, number + 1);
        let now = std::fs::read(notes(&host)).unwrap();
        let _died = host.run_until(point, &["snapshot"]).expect_code(KILLED);
        process::until_gone_from(host.path());

        let restored = host.restore(&first, "notes").join("notes.log");
        assert_eq!(
            std::fs::read(restored).unwrap(),
            committed,
            "after {point}: the first snapshot"
        );
        let next = id(&host.snapshot());
        let restored = host.restore(&next, "notes").join("notes.log");
        assert_eq!(
            std::fs::read(restored).unwrap(),
            now,
            "after {point}: the next snapshot"
        );
        assert_eq!(
            files::hashes(&host.restore(&next, "memory")),
            database,
            "after {point}: the next snapshot"
        );
        let _sound = host.run(&["repository", "check", "--full"]).expect_code(0);
        nothing_is_left(&host, point);
        std::fs::remove_dir_all(host.path().join("restored")).unwrap();
    }
}

#[test]
fn a_restore_killed_anywhere_can_be_given_again() {
    let case = "a_restore_killed_anywhere_can_be_given_again";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let snapshot = id(&host.snapshot());
    let wanted = files::hashes(&host.restore(&snapshot, "memory"));
    part_of(&wanted, &files::hashes(&unpacked.database()));
    for point in dr_vault::restore::FAILPOINTS {
        let place = host.path().join("restored").join(point);
        let existing = match *point {
            "restore.exchanged" => "exchange",
            "restore.entry.swapped" => "entries",
            _ => "refuse",
        };
        let target = place.join("memory");
        if existing != "refuse" {
            // Something to exchange: the same tables with one file damaged.
            files::copy(
                &host.path().join("restored").join(&snapshot).join("memory"),
                &target,
            );
            let some = files::files(&target).into_iter().next().unwrap();
            files::overwrite(&target.join(some), b"damaged");
        }
        let text = place.display().to_string();
        let arguments = [
            "restore",
            "--snapshot",
            &snapshot,
            "--source",
            "memory",
            "--to",
            &text,
            "--existing",
            existing,
        ];
        let _died = host.run_until(point, &arguments).expect_code(KILLED);

        let again = host.run(&arguments);
        if again.code() != 0 {
            // It was killed after the swap: then all of it is there already, and there is something to refuse.
            let _refused = again.expect_code(73);
        }
        assert_eq!(files::hashes(&target), wanted, "after {point}, given again");
        let beside: Vec<_> = entries(&place)
            .into_iter()
            .filter(|name| name.contains("restoring"))
            .collect();
        assert_eq!(
            beside,
            Vec::<String>::new(),
            "after {point}: what the killed restore wrote is gone"
        );
    }
}

#[test]
fn a_drill_killed_anywhere_leaves_no_scratch() {
    let case = "a_drill_killed_anywhere_leaves_no_scratch";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    if dr_tests::binaries::probe().is_none() {
        return dr_tests::skip(case, "dr-probe is not built; `cargo xtask test` builds it");
    }
    let _snapshot = host.snapshot();
    for point in dr_agent::drill::FAILPOINTS
        .iter()
        .chain(&["restore.window.written", "restore.staged"])
    {
        let _died = host
            .run_until(point, &["drill", "--kind", "restore"])
            .expect_code(KILLED);
        let _passed = host.run(&["drill", "--kind", "restore"]).expect_code(0);
        nothing_is_left(&host, point);
    }
}

/// A host with a database and a log that grows.
fn protected() -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host.with_database("memory", &unpacked.database());
    let notes = notes(&host).display().to_string();
    let host = host.with_lines(&format!(
        "\n[[source]]\nname = \"notes\"\nkind = \"audit-log\"\npath = {notes:?}\n"
    ));
    add_lines(&host, 0);
    host.set_up();
    Some((host, unpacked))
}

fn notes(host: &Host) -> PathBuf {
    host.path().join("notes").join("notes.log")
}

/// Something new for the next snapshot to store: enough for a chunk or two of its own.
fn add_lines(host: &Host, number: usize) {
    std::fs::create_dir_all(notes(host).parent().unwrap()).unwrap();
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(notes(host))
        .unwrap();
    for line in 0..400 {
        writeln!(
            file,
            "{{\"round\":{number},\"line\":{line},\"note\":\"{:x}\"}}",
            line * 7919 + number
        )
        .unwrap();
    }
}

/// What is restored is byte for byte what the source holds; older versions and hints are left out of snapshots.
fn part_of(restored: &BTreeMap<PathBuf, blake3::Hash>, source: &BTreeMap<PathBuf, blake3::Hash>) {
    assert!(!restored.is_empty());
    for (path, hash) in restored {
        assert_eq!(source.get(path), Some(hash), "{}", path.display());
    }
}

/// Scratch and staging are empty, wherever the agent keeps them.
fn nothing_is_left(host: &Host, point: &str) {
    for folder in [host.scratch_dir(), host.state_dir().join("staging")] {
        assert_eq!(
            entries(&folder),
            Vec::<String>::new(),
            "after {point}: {}",
            folder.display()
        );
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn id(snapshot: &serde_json::Value) -> String {
    snapshot["id"].as_str().expect("a snapshot has an id").to_owned()
}
