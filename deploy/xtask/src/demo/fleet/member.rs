//! One host of the fleet.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::super::{quoted, sample_sources};
use super::stage::Stage;
use super::{Beside, toml_string};
use crate::terminal;
use crate::workspace::succeed;

/// A host with its own data, repository and agent.
#[derive(Debug)]
pub(super) struct Member {
    name: &'static str,
    labels: &'static [&'static str],
    folder: PathBuf,
}

impl Member {
    pub(super) fn new(stage: &Stage, name: &'static str, labels: &'static [&'static str]) -> Self {
        Self {
            name,
            labels,
            folder: stage.folder().join("hosts").join(name),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Where its application's data lie.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where it lets restores go.
    pub(super) fn restore_dir(&self) -> PathBuf {
        self.folder.join("restore")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("host.key")
    }

    /// Enrols with a one-time token and makes its repository, which also opens with the keys of `guests`.
    pub(super) fn join(&self, stage: &Stage, guests: &[String]) -> Result<()> {
        terminal::step(&format!("{}: enrol, and make a repository", self.name));
        let restore = self.restore_dir();
        std::fs::create_dir_all(&restore).with_context(|| format!("make {}", restore.display()))?;
        std::fs::write(self.config(), self.configuration(stage))
            .with_context(|| format!("write {}", self.config().display()))?;
        let mut arguments = vec!["agent", "token", "--host", self.name];
        for label in self.labels {
            arguments.extend(["--label", label]);
        }
        let token = stage.ask(&arguments)?;
        let token = token["text"].as_str().context("find the text of a new token")?;
        succeed(self.agent(stage).args(["enroll", "--token", token]))?;
        let recovery = self.folder.join("recovery.key");
        let mut init = self.agent(stage);
        init.args(["init", "--generate-recovery-key"]).arg(recovery);
        for guest in guests {
            init.args(["--recovery-recipient", guest]);
        }
        succeed(&mut init)
    }

    /// The public half of its key, which other repositories may be opened for.
    pub(super) fn public_key(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.key_file())
            .with_context(|| format!("read {}", self.key_file().display()))?;
        let public = text.lines().find_map(|line| line.strip_prefix("# public key: "));
        public
            .map(str::to_owned)
            .context("find the public half in a key file")
    }

    /// Starts its agent.
    pub(super) fn start(&self, stage: &Stage) -> Result<Beside> {
        let mut command = self.agent(stage);
        command.arg("run").stderr(stage.log(self.name)?);
        let (daemon, _said) = Beside::start_daemon(&mut command)?;
        Ok(daemon)
    }

    fn agent(&self, stage: &Stage) -> Command {
        let mut command = Command::new(stage.binary("dr-agent"));
        command.arg("--config").arg(self.config()).stdin(Stdio::null());
        command.stdout(Stdio::null());
        command
    }

    fn configuration(&self, stage: &Stage) -> String {
        let repositories = stage.folder().join("repositories");
        let file = |name: &str| quoted(&self.folder.join(name));
        format!(
            "[agent]\nhost = \"{name}\"\nstate_dir = {state}\nscratch = {{ path = {scratch} }}\n\
             suspend_file = {suspend}\nmetrics = {{ listen = \"127.0.0.1:0\" }}\n\n\
             [coordinator]\nendpoints = [\"https://{address}\"]\n\
             tls = {{ certificate = {certificate}, private_key = {private}, trust_bundle = {bundle} }}\n\n\
             [repository]\nurl = {url}\nkey_file = {key}\n\n\
             [allow]\ndrills = [\"verify\", \"restore\"]\nrestore_into = [{restore}]\n{sources}",
            name = self.name,
            state = file("state"),
            scratch = file("scratch"),
            suspend = file("SUSPEND"),
            address = stage.address(),
            certificate = file("agent.pem"),
            private = file("agent.key"),
            bundle = file("ca.pem"),
            url = toml_string(&format!("file://{}/{{host}}", repositories.display())),
            key = quoted(&self.key_file()),
            restore = quoted(&self.restore_dir()),
            sources = sample_sources(&self.data()),
        )
    }
}
