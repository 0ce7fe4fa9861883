//! The oracle: stock LanceDB in Python, which shares no line with us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Running, run};

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

    /// Starts the busy writer on a folder; it says a line when it has begun and one a round after that.
    ///
    /// # Panics
    ///
    /// If it can not be started.
    #[track_caller]
    pub fn writer(&self, folder: &Path, seed: u64) -> Running {
        let mut command = self.script("writer.py");
        command.arg(folder).args(["--seed", &seed.to_string()]);
        Running::start(&mut command)
    }
}

fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
}
