//! A host under test: folders of its own, a configuration, a repository, and the real agent run on it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::binaries;
use crate::process::{Finished, Running, without};

/// How long one command of the agent may take. Generous: machines that run tests are slow and shared.
const DEADLINE: Duration = Duration::from_secs(240);

/// One data host in a temporary folder.
#[derive(Debug)]
pub struct Host {
    name: String,
    folder: TempDir,
    agent: PathBuf,
    repository: String,
    sources: String,
    extra: String,
    environment: Vec<(String, String)>,
}

impl Host {
    /// A host without sources; `None` where `dr-agent` is not built.
    ///
    /// # Panics
    ///
    /// If its folder can not be made.
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("make a folder for a host");
        let repository = format!("file://{}", folder.path().join("repository").display());
        Some(Self {
            name: "host-1".to_owned(),
            folder,
            agent: binaries::agent()?,
            repository,
            sources: String::new(),
            extra: String::new(),
            environment: Vec::new(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where its repository lies, if it is a local one.
    pub fn repository_dir(&self) -> PathBuf {
        self.path().join("repository")
    }

    /// Its repository's URL.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Its state folder.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Where its drills restore to.
    pub fn scratch_dir(&self) -> PathBuf {
        self.path().join("scratch")
    }

    /// The host's key file.
    pub fn key_file(&self) -> PathBuf {
        self.path().join("host.key")
    }

    /// The public half of the host's key, as its key file says it.
    ///
    /// # Panics
    ///
    /// If there is no key file yet.
    pub fn public_key(&self) -> String {
        let text = std::fs::read_to_string(self.key_file()).expect("read the host's key file");
        let line = text.lines().find_map(|line| line.strip_prefix("# public key:"));
        line.expect("a key file names its public half").trim().to_owned()
    }

    /// The recovery key, as it would lie off the host.
    pub fn recovery_key(&self) -> PathBuf {
        self.path().join("recovery.key")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("agent.toml")
    }

    /// Calls it otherwise.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Puts the repository somewhere else.
    #[must_use]
    pub fn with_repository(mut self, url: &str) -> Self {
        url.clone_into(&mut self.repository);
        self
    }

    /// Protects a LanceDB directory.
    #[must_use]
    pub fn with_database(mut self, name: &str, path: &Path) -> Self {
        let _infallible = write!(
            self.sources,
            "\n[[source]]\nname = {name:?}\nkind = \"lancedb\"\npath = {path:?}\n",
            path = path.display().to_string()
        );
        self
    }

    /// Protects an audit log with its rotated segments, chained as fixtures and samples chain theirs.
    #[must_use]
    pub fn with_log(mut self, name: &str, path: &Path) -> Self {
        let _infallible = write!(
            self.sources,
            "\n[[source]]\nname = {name:?}\nkind = \"audit-log\"\npath = {path:?}\nrotated = \"audit.log.*\"\n\
             chain = {{ algorithm = \"sha256\", hash = \"hash\", previous = \"prev_hash\", \
             canonical = \"json-sorted-compact\" }}\n",
            path = path.display().to_string()
        );
        self
    }

    /// Adds lines to the end of the configuration.
    #[must_use]
    pub fn with_lines(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self
    }

    /// Sets a variable in the agent's environment.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A twin: everything that lies in this host's folder, copied into another one, under the same name. Its agent may
    /// be running meanwhile.
    ///
    /// # Panics
    ///
    /// If the folder can not be copied.
    #[must_use]
    pub fn copied(&self) -> Self {
        let folder = tempfile::tempdir().expect("make a folder for a host");
        crate::files::copy(self.path(), folder.path());
        let twin = Self {
            name: self.name.clone(),
            folder,
            agent: self.agent.clone(),
            repository: self.repository.clone(),
            sources: self.sources.clone(),
            extra: self.extra.clone(),
            environment: self.environment.clone(),
        };
        twin.configure();
        twin
    }

    /// The configuration as text.
    pub fn configuration(&self) -> String {
        format!(
            "[agent]\nhost = {name:?}\nstate_dir = {state:?}\nscratch = {{ path = {scratch:?} }}\n\
             suspend_file = {suspend:?}\n\n[repository]\nurl = {url:?}\nkey_file = {key:?}\n{sources}\n{extra}",
            name = self.name,
            state = self.state_dir().display().to_string(),
            scratch = self.scratch_dir().display().to_string(),
            suspend = self.path().join("SUSPEND").display().to_string(),
            url = self.repository,
            key = self.key_file().display().to_string(),
            sources = self.sources,
            extra = self.extra,
        )
    }

    /// Writes the configuration as it stands.
    ///
    /// # Panics
    ///
    /// If it can not be written.
    pub fn configure(&self) {
        std::fs::write(self.config(), self.configuration()).expect("write the configuration");
    }

    /// The agent on this host, with its configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare_command(arguments);
        command.arg("--config").arg(self.config());
        command
    }

    /// The same, started by another program such as `prlimit`, which gets the agent as its last arguments.
    pub fn command_under(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let (program, before) = wrapper.split_first().expect("a program to start the agent with");
        let mut command = Command::new(program);
        command
            .args(before)
            .arg(inner.get_program())
            .args(inner.get_args());
        self.surround(&mut command);
        command
    }

    /// Uses another copy of the agent.
    #[must_use]
    pub fn with_agent(mut self, program: PathBuf) -> Self {
        self.agent = program;
        self
    }

    /// The agent's program.
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// The agent without a configuration, as on a bare host.
    pub fn bare_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.agent);
        command.args(arguments);
        self.surround(&mut command);
        command
    }

    /// Folder and environment: this host's, and nothing that somebody who runs tests has set for another one.
    fn surround(&self, command: &mut Command) {
        without(command, &["DR_AGENT_", "DR_FAILPOINT", "AWS_", "OTEL_"])
            .current_dir(self.path())
            // A test machine's disk may be as full as it likes.
            .env("DR_AGENT_LIMITS_PINS_MIN_FREE", "64 MiB")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Runs the agent to its end.
    ///
    /// # Panics
    ///
    /// If it hangs.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.finish(&mut self.command(arguments))
    }

    /// Runs the agent to its end, which the failpoint `point` brings early.
    ///
    /// # Panics
    ///
    /// If it hangs.
    #[track_caller]
    pub fn run_until(&self, point: &str, arguments: &[&str]) -> Finished {
        self.finish(self.command(arguments).env("DR_FAILPOINT", point))
    }

    /// Runs a prepared command to its end.
    ///
    /// # Panics
    ///
    /// If it hangs.
    #[track_caller]
    pub fn finish(&self, command: &mut Command) -> Finished {
        Running::start(command).finish(DEADLINE)
    }

    /// Writes the configuration and makes the repository, with a recovery key.
    ///
    /// # Panics
    ///
    /// If the agent refuses.
    #[track_caller]
    pub fn set_up(&self) {
        self.configure();
        let recovery = self.recovery_key();
        let _said = self
            .run(&["init", "--generate-recovery-key", &recovery.display().to_string()])
            .expect_code(0);
    }

    /// Takes a snapshot and returns what the agent says of it.
    ///
    /// # Panics
    ///
    /// If it is not taken.
    #[track_caller]
    pub fn snapshot(&self) -> serde_json::Value {
        self.run(&["snapshot", "--output", "json"]).expect_code(0).json()
    }

    /// Restores one source of a snapshot to a folder of its own and returns the folder.
    ///
    /// # Panics
    ///
    /// If that does not succeed.
    #[track_caller]
    pub fn restore(&self, snapshot: &str, source: &str) -> PathBuf {
        let folder = self.path().join("restored").join(snapshot);
        let text = folder.display().to_string();
        let arguments = [
            "restore",
            "--snapshot",
            snapshot,
            "--source",
            source,
            "--to",
            &text,
        ];
        let _said = self.run(&arguments).expect_code(0);
        folder.join(source)
    }
}
