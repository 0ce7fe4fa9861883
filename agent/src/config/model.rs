//! The sections of `agent.toml`. What each key means to an operator stands in `agent.sample.toml`; here stands what
//! the code may rely on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dr_proto::model::DrillKind;
use serde::Deserialize;

use super::source::Source;
use super::upload::UploadLimits;
use dr_proto::model::units::{Floor, Percent, Period, Size};

/// Everything one host is configured with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The agent itself: name, folders, switches.
    pub agent: Agent,
    /// The coordinator it dials; absent on a stand-alone host.
    pub coordinator: Option<Coordinator>,
    /// Where snapshots live; absent until somebody decides.
    pub repository: Option<Repository>,
    /// Where the daemon's traces go; absent: nowhere.
    pub telemetry: Option<Telemetry>,
    /// What is protected.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    /// What the agent may take from the host.
    pub limits: Limits,
    /// The most that a coordinator may ask of this host.
    pub allow: Allow,
    /// Commands of the host's own that drills and limits may call, by name.
    #[serde(rename = "hook")]
    pub hooks: BTreeMap<String, Hook>,
}

/// The agent itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// The host's name, as snapshots and certificates carry it.
    pub host: String,
    /// Journal, index cache, locks.
    pub state_dir: PathBuf,
    /// Where drills restore to.
    pub scratch: Scratch,
    /// While this file exists nothing starts.
    pub suspend_file: PathBuf,
    /// A folder of probes, one `<version>/dr-probe` each; without it the probe beside the agent's own binary.
    pub probes: Option<PathBuf>,
    /// The Prometheus endpoint of the daemon.
    pub metrics: Option<Metrics>,
    /// Folders in which the daemon looks for databases and logs that no source covers, beside those around the sources.
    pub discover: Vec<PathBuf>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            host: "{hostname}".to_owned(),
            state_dir: PathBuf::from("/var/lib/dr-agent"),
            scratch: Scratch::default(),
            suspend_file: PathBuf::from("/etc/drctl/SUSPEND"),
            probes: None,
            metrics: None,
            discover: Vec::new(),
        }
    }
}

impl Agent {
    /// Where drills restore to: configured, else `scratch` in the state folder.
    pub fn scratch_dir(&self) -> PathBuf {
        self.scratch
            .path
            .clone()
            .unwrap_or_else(|| self.state_dir.join("scratch"))
    }
}

/// Space for drills.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scratch {
    /// The folder; `scratch` in the state folder if unset.
    pub path: Option<PathBuf>,
    /// The most that drills may hold there together.
    pub max: Option<Size>,
    /// How long the restored files of a failed drill stay for a look; zero removes them at once.
    pub keep_failed: Period,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            path: None,
            max: None,
            keep_failed: Period(Duration::from_secs(24 * 3600)),
        }
    }
}

/// A Prometheus endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port.
    pub listen: SocketAddr,
}

/// The coordinator that the daemon dials.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinator {
    /// `https://host:port`, tried in order.
    pub endpoints: Vec<String>,
    /// The agent's certificate and whom it trusts.
    pub tls: Tls,
    /// How long the last plans go on while no coordinator answers.
    #[serde(default = "a_week")]
    pub offline_schedule: Period,
}

fn a_week() -> Period {
    Period(Duration::from_secs(7 * 86_400))
}

/// An OpenTelemetry collector, and how much it gets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// `http://host:4317`, OTLP over gRPC.
    pub otlp: String,
    /// The share of all traces.
    #[serde(default = "a_tenth")]
    pub sample: f64,
    /// The share of traces with an error.
    #[serde(default = "all_of_them")]
    pub sample_failed: f64,
}

fn a_tenth() -> f64 {
    0.1
}

fn all_of_them() -> f64 {
    1.0
}

/// Files of mutual TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Our certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// Roots that the other side must come from, PEM.
    pub trust_bundle: PathBuf,
}

/// Where snapshots live and with what key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repository {
    /// `s3://bucket/prefix` or `file:///dir`; `{host}` is the host's name.
    pub url: String,
    /// The URL as it was written, with `{host}`: where repositories of other hosts of the same fleet live.
    #[serde(skip)]
    pub template: String,
    /// Settings of S3 stores.
    pub s3: S3,
    /// The file with this host's key (an age identity).
    pub key_file: Option<PathBuf>,
    /// A command that prints this host's key, instead of a file.
    pub key_command: Option<Vec<String>>,
    /// How long `key_command` may take; 30 s if unset.
    pub key_command_timeout: Option<Period>,
    /// age recipients whose private halves live off this host.
    pub recovery_recipients: Vec<String>,
}

/// Settings of an S3 store.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// The region; from the environment or the profile if unset.
    pub region: Option<String>,
    /// The endpoint of a store that is not Amazon's.
    pub endpoint: Option<String>,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`; true with an endpoint if unset.
    pub path_style: Option<bool>,
    /// Send no CRC32 with what is stored: only for stores that refuse requests with one.
    pub without_checksums: bool,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// Object lock mode for what is written.
    pub lock: Option<LockMode>,
    /// How long objects stay locked.
    pub lock_for: Option<Period>,
}

/// Where S3 credentials come from: `"default-chain"`, `{ profile = "name" }` or
/// `{ static = { access_key = "…", secret_key_file = "/…" } }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Credentials {
    /// Environment, profile, web identity, container, instance: Amazon's usual order.
    #[default]
    DefaultChain,
    /// One named profile of the shared configuration files.
    Profile(String),
    /// A fixed pair; the secret half stays in a file of its own.
    Static(StaticCredentials),
}

/// A fixed pair of S3 keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticCredentials {
    /// The access key's id.
    pub access_key: String,
    /// The file with the secret key alone in it.
    pub secret_key_file: PathBuf,
}

/// Object lock modes of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Nobody can shorten it.
    Compliance,
    /// A special permission can shorten it.
    Governance,
}

/// What the agent may take from the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of the agent and, each, of its probes.
    pub memory: Size,
    /// Cores.
    pub cpu: f64,
    /// Upload rates by time of day.
    pub upload: UploadLimits,
    /// Ceilings of what a cut holds on to.
    pub pins: Pins,
    /// A hook that says whether the host is too busy.
    pub busy_hook: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Size(300 << 20),
            cpu: 1.0,
            upload: UploadLimits::default(),
            pins: Pins::default(),
            busy_hook: None,
        }
    }
}

/// Ceilings of what a cut holds on to.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pins {
    /// Pins older than this are dropped.
    pub max_age: Period,
    /// Pins are dropped when less than this stays free on the source's file system.
    pub min_free: Floor,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            max_age: Period(Duration::from_secs(2 * 3600)),
            min_free: Floor::Share(Percent(10.0)),
        }
    }
}

/// The most that a coordinator may ask of this host.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Kinds of drills.
    pub drills: Vec<DrillKind>,
    /// Folders that a restore may write below.
    pub restore_into: Vec<PathBuf>,
    /// Hooks by name.
    pub hooks: Vec<String>,
    /// Failover drills on the live host.
    pub failover: bool,
    /// Ending holds on snapshots, so that retention may take them.
    pub release_holds: bool,
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            drills: vec![DrillKind::Verify],
            restore_into: Vec::new(),
            hooks: Vec::new(),
            failover: false,
            release_holds: true,
        }
    }
}

/// A command of the host's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Program and arguments; no shell. `{restored.<source>}` is the restored folder or file.
    pub command: Vec<String>,
    /// After this it is killed and counts as failed.
    #[serde(default = "a_minute")]
    pub timeout: Period,
}

fn a_minute() -> Period {
    Period(Duration::from_secs(60))
}
