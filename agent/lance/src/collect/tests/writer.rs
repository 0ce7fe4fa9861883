//! Cuts under writers that never rest: one that follows Lance's rules by hand, and LanceDB itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use uuid::Uuid;

use super::lancedb::python;
use super::*;
use crate::closure::Closure;
use crate::manifest::{Manifest, testing::Draft};

/// What a file of this name holds: a tear would show.
fn content(name: &str) -> Vec<u8> {
    let mut bytes = vec![0; 300 + name.len() * 7];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A table's writer: adds, compacts, deletes what is superseded at once, drops and creates again.
struct Writer {
    table: PathBuf,
    version: u64,
    files: Vec<String>,
    serial: u64,
}

impl Writer {
    fn new(database: &Path, name: &str) -> Self {
        Self {
            table: database.join(name),
            version: 0,
            files: Vec::new(),
            serial: 0,
        }
    }

    /// Published by rename, as Lance does.
    fn publish(&self, path: &Path, bytes: &[u8]) {
        let staged = path.with_file_name(format!(".tmp{}", self.serial));
        fs::write(&staged, bytes).unwrap();
        fs::rename(&staged, path).unwrap();
    }

    fn add_file(&mut self) {
        self.serial += 1;
        let id = blake3::hash(format!("{}/{}", self.table.display(), self.serial).as_bytes());
        let name = format!("{}.lance", Uuid::from_slice(&id.as_bytes()[..16]).unwrap());
        self.publish(&self.table.join("data").join(&name), &content(&name));
        self.files.push(name);
    }

    fn commit(&mut self) {
        self.version += 1;
        let files = self
            .files
            .iter()
            .map(|name| (name.clone(), content(name).len() as u64, None))
            .collect();
        let bytes = Draft {
            version: self.version,
            files,
            rows: 1,
            ..Draft::default()
        }
        .encode();
        let name = format!("{:020}.manifest", u64::MAX - self.version);
        self.publish(&self.table.join("_versions").join(name), &bytes);
    }

    /// Everything but the head goes, data before manifests, as Lance may do.
    fn clean_up(&self) {
        let live: BTreeSet<&String> = self.files.iter().collect();
        for entry in fs::read_dir(self.table.join("data")).unwrap().map(Result::unwrap) {
            if !live.contains(&entry.file_name().to_string_lossy().into_owned()) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let head = format!("{:020}.manifest", u64::MAX - self.version);
        for entry in fs::read_dir(self.table.join("_versions"))
            .unwrap()
            .map(Result::unwrap)
        {
            if entry.file_name().to_string_lossy() != head {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    fn step(&mut self, droppable: bool) {
        if self.version == 0 {
            fs::create_dir_all(self.table.join("data")).unwrap();
            fs::create_dir_all(self.table.join("_versions")).unwrap();
        }
        self.add_file();
        if self.serial.is_multiple_of(5) {
            self.files.clear();
            self.add_file();
            self.add_file();
        }
        self.commit();
        if self.serial.is_multiple_of(3) {
            self.clean_up();
        }
        if droppable && self.serial.is_multiple_of(23) {
            fs::remove_dir_all(&self.table).unwrap();
            self.version = 0;
            self.files.clear();
        }
    }
}

/// Every table's version is there whole, and every byte is the one that was written.
fn assert_whole(collected: &Collected, own_content: bool) {
    assert_eq!(collected.damage, []);
    for stamp in &collected.tables {
        assert!(matches!(stamp.mode, Mode::Exact), "{stamp:?}");
        let path = format!("{}/_versions/{}", stamp.path, stamp.manifest);
        let manifest = Manifest::decode(&bytes_of(collected, &path)).unwrap();
        assert_eq!(manifest.version, stamp.version);
        for file in Closure::of(&manifest).files.iter().filter(|file| file.required) {
            let bytes = bytes_of(collected, &format!("{}/{}", stamp.path, file.path));
            assert!(
                file.size.is_none_or(|size| size == bytes.len() as u64),
                "{}",
                file.path
            );
            let name = file.path.rsplit('/').next().unwrap();
            assert!(!own_content || bytes == content(name), "{} is torn", file.path);
        }
    }
}

fn bytes_of(collected: &Collected, path: &str) -> Vec<u8> {
    let entry = collected
        .entries
        .iter()
        .find(|entry| entry.path == path)
        .unwrap_or_else(|| panic!("{path} is not in the cut"));
    let mut bytes = vec![0; usize::try_from(entry.len()).unwrap()];
    assert_eq!(entry.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

/// Collects and proves; how many rounds it took, `None` if it never stood still. A method that reads whole files
/// may be outrun on a busy host, and says so.
fn cut(database: &Path, options: &CollectOptions) -> (Collected, Option<u32>) {
    let outrun = |error: &Error| matches!(error, Error::Busy { .. }) && options.pins == [PinMethod::Copy];
    let mut attempts = (0..5).map(|_| collect(database, options));
    let taken = attempts.find(|taken| !taken.as_ref().is_err_and(outrun));
    let mut collected = taken.unwrap_or_else(|| panic!("outrun five times")).unwrap();
    for round in 1..=6 {
        let moved = collected.moved().unwrap();
        if moved.is_empty() {
            return (collected, Some(round));
        }
        match collected.recollect(&moved) {
            Err(error) if outrun(&error) => return cut(database, options),
            retaken => retaken.unwrap(),
        }
    }
    (collected, None)
}

/// A check under a busy writer must not cry wolf.
fn assert_quick_is_calm(database: &Path) {
    match crate::check::quick(database, &crate::check::CheckOptions::default()) {
        Ok(check) => assert_eq!(check.damage().collect::<Vec<_>>(), Vec::<&crate::Damage>::new()),
        Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
    }
}

fn cuts_under_a_simulated_writer(pins: Vec<PinMethod>, staging: Option<PathBuf>, count: u32) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("db");
    fs::create_dir(&database).unwrap();
    let mut writers: Vec<_> = ["a.lance", "b.lance"]
        .map(|name| Writer::new(&database, name))
        .into();
    writers.iter_mut().for_each(|writer| writer.step(false));
    let (stop, steps) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for (number, mut writer) in writers.into_iter().enumerate() {
            let (stop, steps) = (&stop, &steps);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    writer.step(number == 1);
                    steps.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut exact = 0;
            for seed in 0..count {
                let options = CollectOptions {
                    pins: pins.clone(),
                    staging: staging.clone(),
                    seed: seed.into(),
                    ..Default::default()
                };
                let (collected, rounds) = cut(&database, &options);
                exact += u32::from(rounds.is_some());
                assert_whole(&collected, true);
                assert_quick_is_calm(&database);
                assert!(
                    collected.tables.iter().any(|table| table.name == "a"),
                    "{:?}",
                    collected.tables
                );
            }
            eprintln!(
                "{count} cuts, {exact} exact, {} commits by {pins:?}",
                steps.load(Ordering::Relaxed)
            );
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_hundred_cuts_by_descriptor() {
    cuts_under_a_simulated_writer(vec![PinMethod::Descriptor], None, 100);
}

#[test]
fn cuts_by_hard_link_and_copy() {
    let staging = tempfile::tempdir().unwrap();
    cuts_under_a_simulated_writer(vec![PinMethod::Hardlink], Some(staging.path().into()), 30);
    cuts_under_a_simulated_writer(vec![PinMethod::Copy], Some(staging.path().into()), 30);
    assert_eq!(
        fs::read_dir(staging.path()).unwrap().count(),
        0,
        "staging is left clean"
    );
}

/// Compares a written-out cut with the ledger of the Python writer.
const JUDGE: &str = r#"
import json, os, sys
sys.path.insert(0, sys.argv[1])
import judge, lancedb
database, path, after, before, exact = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6] == "true"
tables, _ = judge.histories(path, before)
connection = lancedb.connect(database)
judge.lancedb.connect = lambda _: connection
present = {n[:-6] for n in os.listdir(database) if n.endswith(".lance")}
problems, windows = [f"{n} was never acknowledged" for n in present - set(tables)], {}
for name, ends in tables.items():
    found = judge.read_table(connection, name, problems) if name in present else None
    windows[name] = judge.match(found, ends)
    if not judge.meet([[(2 * after + 1, 2 * before + 2)], windows[name]]):
        problems.append(f"{name}: {found} was never acknowledged between {after} and {before}")
if exact and not judge.meet([[(2 * after + 1, 2 * before + 2)], *windows.values()]):
    problems.append(f"there is no moment at which all of this was true: {windows}")
sys.exit("\n".join(problems) or 0)
"#;

/// The last operation of the ledger that satisfies a mark.
fn last_op(ledger: &Path, mark: &str) -> u64 {
    let lines = fs::read_to_string(ledger).unwrap();
    let lines = lines
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines
        .filter(|line| line[mark] == true)
        .find_map(|line| line["op"].as_u64())
        .unwrap_or(0)
}

#[test]
fn cuts_under_lancedb_match_its_ledger() {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle");
    let (Some(python), true) = (python(), oracle.join("writer.py").is_file()) else {
        crate::fixtures::skip(
            "cuts_under_lancedb_match_its_ledger",
            "there is no Python with lancedb: set DR_PYTHON",
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Command::new(&python)
        .args(["-W", "ignore"])
        .arg(oracle.join("writer.py"))
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(writer.stdout.as_mut().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said.trim(), "ready");
    let database = folder.path().join("rocketship-db");
    let ledger = folder.path().join("ledger.jsonl");
    let count: u64 = std::env::var("DR_LANCE_CUTS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(20);
    let mut exact = 0;
    for seed in 0..count {
        let after = last_op(&ledger, "end");
        let (collected, rounds) = cut(
            &database,
            &CollectOptions {
                seed,
                ..descriptors(History::Heads)
            },
        );
        let before = last_op(&ledger, "begin");
        assert_whole(&collected, false);
        exact += u64::from(rounds.is_some());
        if seed % 5 == 0 {
            let copy = tempfile::tempdir().unwrap();
            write_out(&collected, copy.path());
            let mut judge = Command::new(&python);
            judge
                .args(["-W", "ignore", "-c", JUDGE])
                .args([&oracle, copy.path(), &ledger]);
            judge.args([
                after.to_string(),
                before.to_string(),
                rounds.is_some().to_string(),
            ]);
            let verdict = judge.output().unwrap();
            assert!(
                verdict.status.success(),
                "cut {seed}: {}",
                String::from_utf8_lossy(&verdict.stderr)
            );
        }
    }
    drop(writer.stdin.take().map(|mut stdin| stdin.write_all(b"\n")));
    let _ = writer.kill();
    let _ = writer.wait();
    eprintln!(
        "{count} cuts under LanceDB, {exact} exact, {} operations",
        last_op(&ledger, "end")
    );
}
