//! The fleet's folder, its coordinator and its operator.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Beside, toml_string};
use crate::terminal;
use crate::workspace::{Workspace, succeed, words};

/// One folder with everything in it.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    binaries: PathBuf,
    address: String,
    metrics: String,
}

impl Stage {
    /// Removes what an earlier demo left.
    pub(super) fn set(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target.join("demo");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        for name in ["coordinator", "repositories"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        }
        Ok(Self {
            folder,
            binaries: workspace.target.join("debug"),
            // Any free port.
            address: "127.0.0.1:0".to_owned(),
            metrics: String::new(),
        })
    }

    /// The demo's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A binary of this build.
    pub(super) fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Where the coordinator listens, once it does.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Where its metrics are, once it runs.
    pub(super) fn metrics(&self) -> &str {
        &self.metrics
    }

    /// A file of the authority's folder, as a TOML string.
    pub(super) fn certificate_file(&self, name: &str) -> String {
        toml_string(&self.pki().join(name).display().to_string())
    }

    fn pki(&self) -> PathBuf {
        self.folder.join("coordinator").join("pki")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("coordinator").join("coordinator.toml")
    }

    /// The fleet's authority, with a certificate for the coordinator and one for an operator.
    pub(super) fn make_authority(&self) -> Result<()> {
        succeed(
            Command::new(self.binary("dr-coordinator"))
                .args(["pki", "--dir"])
                .arg(self.pki())
                .args(["init", "--domain", "demo.drctl", "--coordinator", "coordinator"])
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        )
    }

    /// Writes the coordinator's configuration and starts it.
    pub(super) fn start_coordinator(mut self) -> Result<(Beside, Self)> {
        let text = format!(
            "listen = \"{address}\"\n\
             tls = {{ certificate = {certificate}, private_key = {key}, trust_bundle = {bundle} }}\n\
             authority = {{ dir = {pki} }}\n\
             store = {store}\n\
             agents = {{ heartbeat = \"1s\", lost_after = \"10s\", max_clock_skew = \"30s\" }}\n\
             objectives = [{{ select = \"*\", rpo = \"1h\", rto = \"10m\", proof = \"restored\", proof_age = \"8d\" }}]\n\
             metrics = {{ listen = \"127.0.0.1:0\" }}\n",
            address = self.address,
            certificate = self.certificate_file("coordinator.pem"),
            key = self.certificate_file("coordinator.key"),
            bundle = self.certificate_file("ca.pem"),
            pki = toml_string(&self.pki().display().to_string()),
            store = toml_string(&format!(
                "sqlite://{}",
                self.folder.join("coordinator/state.db").display()
            )),
        );
        std::fs::write(self.config(), text).with_context(|| format!("write {}", self.config().display()))?;
        let mut command = Command::new(self.binary("dr-coordinator"));
        command.arg("run").arg("--config").arg(self.config());
        command.stderr(self.log("coordinator")?);
        let (coordinator, said) = Beside::start_daemon(&mut command)?;
        let address = |key: &str| {
            let text = said[key].as_str().map(str::to_owned);
            text.with_context(|| format!("find `{key}` in what the coordinator says"))
        };
        self.address = address("address")?;
        self.metrics = address("metrics")?;
        terminal::note(&format!(
            "it listens on {}, its metrics are on {}",
            self.address, self.metrics
        ));
        Ok((coordinator, self))
    }

    /// Where a daemon's log goes.
    pub(super) fn log(&self, name: &str) -> Result<Stdio> {
        let path = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(file.into())
    }

    /// Writes the plan and gives its path.
    pub(super) fn write_plan(&self, text: &str) -> Result<String> {
        let path = self.folder.join("weekly-restore.toml");
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// The command line as the first operator.
    fn drctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary("drctl"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("DRCTL_ENDPOINT", format!("https://{}", self.address))
            .env("DRCTL_CERTIFICATE", self.pki().join("admin.pem"))
            .env("DRCTL_PRIVATE_KEY", self.pki().join("admin.key"))
            .env("DRCTL_TRUST_BUNDLE", self.pki().join("ca.pem"));
        command
    }

    /// Runs one command of the operator on this terminal and gives its exit code.
    pub(super) fn drctl(&self, title: &str, arguments: &[&str]) -> Result<u8> {
        terminal::step(title);
        terminal::note(&format!("drctl {}", arguments.join(" ")));
        let mut command = self.drctl_command(arguments);
        let status = command
            .status()
            .with_context(|| format!("start {}", words(&command)))?;
        let Some(code) = status.code() else {
            bail!("`{}` ended with {status}", words(&command))
        };
        u8::try_from(code).context("read the exit code of drctl")
    }

    /// Runs one command of the operator and gives what it says as JSON.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.drctl_command(arguments);
        let output = command
            .args(["--output", "json"])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("start {}", words(&command)))?;
        if !output.status.success() {
            bail!("`{}` ended with {}", words(&command), output.status);
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("read what `{}` says", words(&command)))
    }
}
