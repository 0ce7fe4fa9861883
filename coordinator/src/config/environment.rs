//! `DR_COORDINATOR_…` variables: each stands for one key of the file. A misspelt variable is refused like a misspelt
//! key.

use dr_proto::model::environment::{Shape, Variables};
use toml::Table;

use super::error::Error;

/// The variables and the keys that they stand for.
pub const VARIABLES: &[(&str, &str, Shape)] = &[
    ("DR_COORDINATOR_LISTEN", "listen", Shape::Text),
    ("DR_COORDINATOR_ADVERTISE", "advertise", Shape::List),
    ("DR_COORDINATOR_TLS_CERTIFICATE", "tls.certificate", Shape::Text),
    ("DR_COORDINATOR_TLS_PRIVATE_KEY", "tls.private_key", Shape::Text),
    ("DR_COORDINATOR_TLS_TRUST_BUNDLE", "tls.trust_bundle", Shape::Text),
    ("DR_COORDINATOR_AUTHORITY_DIR", "authority.dir", Shape::Text),
    ("DR_COORDINATOR_STORE", "store", Shape::Text),
    ("DR_COORDINATOR_BACKUP_TO", "backup.to", Shape::Text),
    ("DR_COORDINATOR_BACKUP_EVERY", "backup.every", Shape::Text),
    (
        "DR_COORDINATOR_BACKUP_RECIPIENTS",
        "backup.recipients",
        Shape::List,
    ),
    ("DR_COORDINATOR_LIMITS_TASKS", "limits.tasks", Shape::Whole),
    ("DR_COORDINATOR_LIMITS_PER_HOST", "limits.per_host", Shape::Whole),
    ("DR_COORDINATOR_AGENTS_HEARTBEAT", "agents.heartbeat", Shape::Text),
    (
        "DR_COORDINATOR_AGENTS_LOST_AFTER",
        "agents.lost_after",
        Shape::Text,
    ),
    (
        "DR_COORDINATOR_AGENTS_MAX_CLOCK_SKEW",
        "agents.max_clock_skew",
        Shape::Text,
    ),
    ("DR_COORDINATOR_INVENTORY_FILE", "inventory.file", Shape::Text),
    (
        "DR_COORDINATOR_INVENTORY_MISSING_AFTER",
        "inventory.missing_after",
        Shape::Text,
    ),
    ("DR_COORDINATOR_HISTORY_RUNS", "history.runs", Shape::Text),
    ("DR_COORDINATOR_HISTORY_AUDIT", "history.audit", Shape::Text),
    ("DR_COORDINATOR_METRICS_LISTEN", "metrics.listen", Shape::Text),
    (
        "DR_COORDINATOR_METRICS_PER_HOST",
        "metrics.per_host",
        Shape::Switch,
    ),
    ("DR_COORDINATOR_TELEMETRY_OTLP", "telemetry.otlp", Shape::Text),
];

const OURS: Variables = Variables {
    prefix: "DR_COORDINATOR_",
    keys: VARIABLES,
    others: &["DR_COORDINATOR_CONFIG", "DR_COORDINATOR_LOG"],
};

/// Puts one variable into the document; `Ok(false)` if it is not ours.
pub(super) fn apply(document: &mut Table, variable: &str, text: &str) -> Result<bool, Error> {
    OURS.apply(document, variable, text)
        .map_err(|wrong| Error::Variable {
            variable: variable.to_owned(),
            reason: wrong.reason,
            hint: wrong.hint,
        })
}
