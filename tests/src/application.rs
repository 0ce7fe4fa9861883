//! A host whose database a Python script with stock LanceDB writes, step by step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Host;
use crate::oracle::Python;
use crate::process::run;

/// How long one step may take.
const DEADLINE: Duration = Duration::from_secs(240);

/// The host, protected, and the application on it.
#[derive(Debug)]
pub struct Application {
    /// The host; its one source is `memory`, the application's database.
    pub host: Host,
    python: Python,
    script: &'static str,
    database: PathBuf,
}

impl Application {
    /// Takes the first steps of a script of `tests/oracle` and makes the repository; `None`, said as a skip of `case`,
    /// where something for it is missing.
    ///
    /// # Panics
    ///
    /// If a step fails.
    #[track_caller]
    pub fn start(case: &str, script: &'static str, steps: &[&str]) -> Option<Self> {
        let (Some(python), Some(_)) = (Python::find(), crate::binaries::probe()) else {
            crate::skip(case, "no Python with lancedb, or no probe");
            return None;
        };
        let Some(host) = Host::new() else {
            crate::skip(case, "dr-agent is not built");
            return None;
        };
        let database = host.path().join("application");
        let application = Self {
            host: host.with_database("memory", &database),
            python,
            script,
            database,
        };
        steps.iter().for_each(|step| application.step(step));
        application.host.set_up();
        Some(application)
    }

    /// Takes one step more.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    pub fn step(&self, step: &str) {
        let mut command = self.python.script(self.script);
        let _done = run(command.arg(&self.database).arg(step), DEADLINE).expect_code(0);
    }

    /// Where its database is.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// What stock LanceDB reads in a database.
    ///
    /// # Panics
    ///
    /// If it can not read it.
    #[track_caller]
    pub fn read(&self, database: &Path) -> serde_json::Value {
        self.python.read(database)
    }
}
