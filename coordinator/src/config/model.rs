//! The keys of `coordinator.toml`. What each means to an operator stands in `coordinator.sample.toml`; here stands what
//! the code may rely on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dr_proto::model::units::Period;
use dr_proto::model::{ProofLevel, Selector};
use serde::Deserialize;

use crate::reconcile::backup;

/// Everything a coordinator is configured with.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where agents and operators dial in.
    pub listen: SocketAddr,
    /// What tokens tell a new agent to dial; empty: the address above.
    pub advertise: Vec<String>,
    /// Certificate, key and roots.
    pub tls: Tls,
    /// The certificate authority; absent: certificates are brought.
    pub authority: Option<Authority>,
    /// URL of the store.
    pub store: String,
    /// Copies of the store.
    pub backup: Option<Backup>,
    /// How many tasks may be at work.
    pub limits: Limits,
    /// When an agent counts as lost.
    pub agents: Agents,
    /// Hosts that should be there.
    pub inventory: Inventory,
    /// What must hold for each source, first match first.
    pub objectives: Vec<Objective>,
    /// How long the past is kept.
    pub history: History,
    /// The Prometheus endpoint; absent: none.
    pub metrics: Option<Metrics>,
    /// Where traces go; absent: nowhere.
    pub telemetry: Option<Telemetry>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443)),
            advertise: Vec::new(),
            tls: Tls::default(),
            authority: None,
            store: "sqlite:///var/lib/dr-coordinator/state.db".to_owned(),
            backup: None,
            limits: Limits::default(),
            agents: Agents::default(),
            inventory: Inventory::default(),
            objectives: Vec::new(),
            history: History::default(),
            metrics: None,
            telemetry: None,
        }
    }
}

/// Certificate, key and roots of the coordinator.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate, then intermediates, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, readable by the coordinator alone.
    pub private_key: PathBuf,
    /// Roots to trust, PEM.
    pub trust_bundle: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: "/etc/drctl/tls/coordinator.pem".into(),
            private_key: "/etc/drctl/tls/coordinator.key".into(),
            trust_bundle: "/etc/drctl/tls/ca.pem".into(),
        }
    }
}

/// The certificate authority that enrols hosts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// The folder that `pki init` made.
    pub dir: PathBuf,
    /// How long an agent's certificate lasts.
    #[serde(default = "a_week")]
    pub agent_certificates: Period,
}

fn a_week() -> Period {
    days(7)
}

/// Encrypted copies of the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// The folder they are written to.
    pub to: PathBuf,
    /// How often.
    #[serde(default = "an_hour")]
    pub every: Period,
    /// How many are kept.
    #[serde(default = "two_days_of_hours")]
    pub keep: usize,
    /// age public keys that can read them.
    pub recipients: Vec<String>,
}

impl Backup {
    /// One copy into `to`, for nobody yet.
    pub fn once(to: PathBuf) -> Self {
        Self {
            to,
            every: an_hour(),
            keep: two_days_of_hours(),
            recipients: Vec::new(),
        }
    }

    /// As the reconciler takes it.
    pub fn options(&self) -> backup::Options {
        backup::Options {
            to: self.to.clone(),
            every: self.every.0,
            keep: self.keep,
            recipients: self.recipients.clone(),
        }
    }
}

fn an_hour() -> Period {
    Period(Duration::from_secs(3_600))
}

fn two_days_of_hours() -> usize {
    48
}

/// How many tasks may be at work at a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// In all.
    pub tasks: usize,
    /// On one host.
    pub per_host: usize,
    /// On all hosts together that carry the same value of a label.
    pub per_label: BTreeMap<String, usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tasks: 40,
            per_host: 1,
            per_label: BTreeMap::new(),
        }
    }
}

/// When an agent counts as lost.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agents {
    /// How often an agent says that it lives.
    pub heartbeat: Period,
    /// One that was silent for so long is lost.
    pub lost_after: Period,
    /// A clock that is further off than this is a problem.
    pub max_clock_skew: Period,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            heartbeat: Period(Duration::from_secs(15)),
            lost_after: Period(Duration::from_secs(90)),
            max_clock_skew: Period(Duration::from_secs(30)),
        }
    }
}

/// Hosts that should be there.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inventory {
    /// A JSON list of hosts with their labels; unset: operators hand one over.
    pub file: Option<PathBuf>,
    /// A host of the list that never enrolled, or was not heard of, for so long is missing.
    pub missing_after: Period,
}

impl Default for Inventory {
    fn default() -> Self {
        Self {
            file: None,
            missing_after: days(1),
        }
    }
}

/// What must hold for each source of some hosts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The hosts.
    pub select: Selector,
    /// The longest time between two cuts, and from the newest cut to now.
    pub rpo: Option<Period>,
    /// The longest restore.
    pub rto: Option<Period>,
    /// How deep a pass must go.
    pub proof: Option<ProofLevel>,
    /// The oldest that such a pass may be.
    pub proof_age: Option<Period>,
}

/// How long the past is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Ended runs, with their reports.
    pub runs: Period,
    /// Entries of the audit log.
    pub audit: Period,
}

impl Default for History {
    fn default() -> Self {
        Self {
            runs: days(400),
            audit: days(7 * 365),
        }
    }
}

fn days(days: u64) -> Period {
    Period(Duration::from_secs(days * 86_400))
}

/// The Prometheus endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether series carry hosts' names.
    #[serde(default = "yes")]
    pub per_host: bool,
}

fn yes() -> bool {
    true
}

/// Where traces go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// `http://host:4317`, OTLP over gRPC.
    pub otlp: String,
    /// The share of traces that are sent, 0 to 1.
    #[serde(default = "a_tenth")]
    pub sample: f64,
    /// The share of traces with an error that are sent, 0 to 1.
    #[serde(default = "all")]
    pub sample_failed: f64,
}

fn a_tenth() -> f64 {
    0.1
}

fn all() -> f64 {
    1.0
}
