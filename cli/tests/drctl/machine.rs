//! An operator's machine: a folder, an environment, certificates, and the coordinator that they lead to.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use dr_proto::tls::Files;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::certificates::Authority;
use crate::coordinator::Script;

/// Longer than any command of a test takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Machine {
    dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) script: Script,
    pub(crate) endpoint: String,
    pub(crate) files: Files,
}

/// How a command ended.
pub(crate) struct Ran {
    code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Machine {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new();
        let server = authority.issue(dir.path(), "coordinator", "coordinator/one");
        let files = authority.issue(dir.path(), "ana", "operator/ana");
        let script = Script::default();
        let endpoint = script.serve(&server).await;
        Self {
            dir,
            authority,
            script,
            endpoint,
            files,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write");
        path
    }

    /// A command without any way to the coordinator.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drctl"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// A command that goes to the coordinator as `files` say.
    pub(crate) fn command_as(&self, files: &Files, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command
            .env("DRCTL_ENDPOINT", &self.endpoint)
            .env("DRCTL_CERTIFICATE", &files.certificate)
            .env("DRCTL_PRIVATE_KEY", &files.private_key)
            .env("DRCTL_TRUST_BUNDLE", &files.trust_bundle);
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(&self.files, arguments)
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments)).await
    }

    pub(crate) async fn run_bare(&self, arguments: &[&str]) -> Ran {
        finish(self.bare(arguments)).await
    }
}

pub(crate) async fn finish(mut command: Command) -> Ran {
    let ran = tokio::time::timeout(PATIENCE, command.output());
    ran.await
        .expect("the command ends")
        .expect("the command starts")
        .into()
}

/// Waits for a command that was started.
pub(crate) async fn end_of(child: Child) -> Ran {
    let ran = tokio::time::timeout(PATIENCE, child.wait_with_output());
    ran.await.expect("the command ends").expect("its output").into()
}

/// Waits until `holds`, with a limit.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "out: {}\nerr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}
