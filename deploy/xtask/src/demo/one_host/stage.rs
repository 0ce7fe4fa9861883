//! The demo's folder: data, repository, state, and the configuration that names them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Options, absolute, quoted, sample_sources, toml_string};
use crate::workspace::Workspace;

/// One folder with everything in it.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    binaries: PathBuf,
    repository: String,
    own_data: bool,
}

impl Stage {
    /// Removes what an earlier demo left and writes the configuration for this one.
    pub(super) fn set(workspace: &Workspace, options: &Options) -> Result<Self> {
        let folder = workspace.target.join("demo");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let repository = match &options.repository {
            // A new one each time: a repository can be made only once, and another demo's must not be touched.
            Some(url) => format!("{}/drctl-demo-{}", url.trim_end_matches('/'), std::process::id()),
            None => format!("file://{}", folder.join("repository").display()),
        };
        let own_data = options.lancedb.is_some() || options.audit_log.is_some();
        let stage = Self {
            folder,
            binaries: workspace.target.join("debug"),
            repository,
            own_data,
        };
        let sources = if own_data {
            own_sources(options, &stage.binary("dr-agent"))?
        } else {
            sample_sources(&stage.data())
        };
        let text = stage.configuration(&sources);
        std::fs::write(stage.config(), text)
            .with_context(|| format!("write {}", stage.config().display()))?;
        Ok(stage)
    }

    /// Whether a person's own data are rehearsed: then nobody writes.
    pub(super) fn has_own_data(&self) -> bool {
        self.own_data
    }

    /// A binary of this build.
    pub(super) fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Where sample data lie.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The agent's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    /// The repository's URL.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The repository's folder, where it is one.
    pub(super) fn repository_dir(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// The key that would live off the host.
    pub(super) fn recovery_key(&self) -> PathBuf {
        self.folder.join("recovery.key")
    }

    /// Where the agent keeps reports.
    pub(super) fn reports(&self) -> PathBuf {
        self.folder.join("state").join("reports")
    }

    fn configuration(&self, sources: &str) -> String {
        format!(
            "[agent]\nhost = \"demo\"\nstate_dir = {state}\nscratch = {{ path = {scratch} }}\nsuspend_file = {suspend}\n\n\
             [repository]\nurl = {url}\nkey_file = {key}\n{sources}",
            state = quoted(&self.folder.join("state")),
            scratch = quoted(&self.folder.join("scratch")),
            suspend = quoted(&self.folder.join("SUSPEND")),
            url = toml_string(&self.repository),
            key = quoted(&self.folder.join("host.key")),
        )
    }
}

/// What a person brought.
fn own_sources(options: &Options, agent: &Path) -> Result<String> {
    let mut text = String::new();
    if let Some(path) = &options.lancedb {
        let path = quoted(&absolute(path)?);
        write!(
            text,
            "\n[[source]]\nname = \"lancedb\"\nkind = \"lancedb\"\npath = {path}\n"
        )?;
    }
    if let Some(path) = &options.audit_log {
        let log = absolute(path)?;
        let path = quoted(&log);
        write!(
            text,
            "\n[[source]]\nname = \"audit-log\"\nkind = \"audit-log\"\npath = {path}\n"
        )?;
        text += &found_out(agent, &log)?;
    }
    Ok(text)
}

/// What `dr-agent discover` finds out of a log: its rotated segments and its chain, as keys of its source. Nothing if
/// it takes the file for no log: the snapshot tells then what it is.
fn found_out(agent: &Path, log: &Path) -> Result<String> {
    let folder = log.parent().context("find the log's folder")?;
    let output = Command::new(agent)
        .args(["discover", "--dry-run", "--depth", "1", "--output", "json"])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .context("start dr-agent discover")?;
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("read what dr-agent discover answers")?;
    let sources = answer["sources"].as_array().map_or(&[][..], Vec::as_slice);
    let found = sources
        .iter()
        .find(|source| source["path"].as_str().map(Path::new) == Some(log));
    let Some(found) = found else {
        return Ok(String::new());
    };
    let mut keys = String::new();
    for key in ["rotated", "time_field"] {
        if let Some(value) = found[key].as_str() {
            writeln!(keys, "{key} = {}", toml_string(value))?;
        }
    }
    if let Some(chain) = found["chain"].as_object() {
        let members: Vec<String> = chain
            .iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        writeln!(keys, "chain = {{ {} }}", members.join(", "))?;
    }
    Ok(keys)
}
