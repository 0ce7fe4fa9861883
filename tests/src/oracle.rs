//! The oracle: stock LanceDB in Python, which shares no line with us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Finished, Running, run};

/// How long the oracle may take over one answer.
const DEADLINE: Duration = Duration::from_secs(240);

/// A Python with stock lancedb.
#[derive(Debug, Clone)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// The one that `cargo xtask test` installed; `None` where there is none.
    pub fn find() -> Option<Self> {
        let program = match std::env::var_os("DR_PYTHON") {
            Some(path) => PathBuf::from(path),
            None => cache()?.join("drctl").join("python").join("bin").join("python"),
        };
        program.is_file().then_some(Self { program })
    }

    /// A script of `tests/oracle`, ready for arguments.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["-W", "ignore"])
            .arg(crate::checkout().join("tests").join("oracle").join(name));
        command
    }

    /// A module of this Python, such as `moto.server`.
    pub fn module(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-m", name]);
        command
    }

    /// What stock LanceDB reads in a database: per table its version, rows, columns and a hash over its ids.
    ///
    /// # Panics
    ///
    /// If it can not read it.
    #[track_caller]
    pub fn read(&self, database: &Path) -> serde_json::Value {
        let mut command = self.script("read.py");
        command.arg(database);
        run(&mut command, DEADLINE).expect_code(0).json()
    }

    /// Asks the exact answers of a fixture's facts of a restored copy, too.
    ///
    /// # Panics
    ///
    /// If it can not read it.
    #[track_caller]
    pub fn read_golden(&self, database: &Path, facts: &Path) -> serde_json::Value {
        let mut command = self.script("read.py");
        command.arg(database).arg("--golden").arg(facts);
        run(&mut command, DEADLINE).expect_code(0).json()
    }

    /// Starts the busy writer in a folder and waits until its tables exist.
    ///
    /// # Panics
    ///
    /// If it does not come so far.
    #[track_caller]
    pub fn writer(&self, folder: &Path, seed: u64) -> Writer {
        let mut command = self.script("writer.py");
        command.arg(folder).args(["--seed", &seed.to_string()]);
        let mut running = Running::start(&mut command);
        assert_eq!(running.line(DEADLINE), "ready");
        Writer {
            running,
            folder: folder.to_owned(),
        }
    }

    /// Holds a restored copy against the writer's ledger.
    pub fn judge(&self, database: &Path, logs: &Path, writer: &Writer, cut: &Cut) -> Finished {
        let mut command = self.script("judge.py");
        command.arg(database).arg(logs).arg(writer.ledger());
        command.args([
            "--after",
            &cut.after.to_string(),
            "--before",
            &cut.before.to_string(),
        ]);
        if cut.exact {
            command.arg("--exact");
        }
        run(&mut command, DEADLINE)
    }
}

/// What the ledger said around a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The last operation acknowledged when the snapshot began.
    pub after: u64,
    /// The last operation begun when it had ended.
    pub before: u64,
    /// Whether it claims one moment for everything.
    pub exact: bool,
}

/// The busy writer; it ends when dropped.
#[derive(Debug)]
pub struct Writer {
    running: Running,
    folder: PathBuf,
}

impl Writer {
    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.folder.join("rocketship-db")
    }

    /// Its audit log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("logs").join("audit.log")
    }

    /// What it has been acknowledged.
    pub fn ledger(&self) -> PathBuf {
        self.folder.join("ledger.jsonl")
    }

    /// The last operation that was acknowledged, and the last that was begun.
    ///
    /// # Panics
    ///
    /// If the ledger is not what the writer writes.
    #[track_caller]
    pub fn now(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(self.ledger()).expect("read the ledger");
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = complete.lines().next_back().expect("the ledger has a line");
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of the ledger is JSON");
        let operation = entry["op"]
            .as_u64()
            .expect("a line of the ledger names its operation");
        if entry["end"] == true {
            (operation, operation)
        } else {
            (operation - 1, operation)
        }
    }

    /// Lets it end, and returns what it said.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.running.finish(DEADLINE)
    }
}

fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
}
