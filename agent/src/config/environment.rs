//! `DR_AGENT_…` variables: each stands for one key of the file. A misspelt variable is refused like a misspelt key.

use dr_proto::model::environment::{Shape, Variables};
use toml::Table;

use super::error::Error;

/// The variables and the keys that they stand for.
pub const VARIABLES: &[(&str, &str, Shape)] = &[
    ("DR_AGENT_HOST", "agent.host", Shape::Text),
    ("DR_AGENT_STATE_DIR", "agent.state_dir", Shape::Text),
    ("DR_AGENT_SCRATCH_PATH", "agent.scratch.path", Shape::Text),
    ("DR_AGENT_SCRATCH_MAX", "agent.scratch.max", Shape::Text),
    (
        "DR_AGENT_SCRATCH_KEEP_FAILED",
        "agent.scratch.keep_failed",
        Shape::Text,
    ),
    ("DR_AGENT_SUSPEND_FILE", "agent.suspend_file", Shape::Text),
    ("DR_AGENT_PROBES", "agent.probes", Shape::Text),
    ("DR_AGENT_METRICS_LISTEN", "agent.metrics.listen", Shape::Text),
    ("DR_AGENT_REPOSITORY_URL", "repository.url", Shape::Text),
    ("DR_AGENT_REPOSITORY_KEY_FILE", "repository.key_file", Shape::Text),
    (
        "DR_AGENT_REPOSITORY_RECOVERY_RECIPIENTS",
        "repository.recovery_recipients",
        Shape::List,
    ),
    (
        "DR_AGENT_REPOSITORY_S3_REGION",
        "repository.s3.region",
        Shape::Text,
    ),
    (
        "DR_AGENT_REPOSITORY_S3_ENDPOINT",
        "repository.s3.endpoint",
        Shape::Text,
    ),
    (
        "DR_AGENT_REPOSITORY_S3_PATH_STYLE",
        "repository.s3.path_style",
        Shape::Switch,
    ),
    ("DR_AGENT_LIMITS_MEMORY", "limits.memory", Shape::Text),
    ("DR_AGENT_LIMITS_CPU", "limits.cpu", Shape::Number),
    (
        "DR_AGENT_LIMITS_UPLOAD_DEFAULT",
        "limits.upload.default",
        Shape::Text,
    ),
    ("DR_AGENT_LIMITS_PINS_MAX_AGE", "limits.pins.max_age", Shape::Text),
    (
        "DR_AGENT_LIMITS_PINS_MIN_FREE",
        "limits.pins.min_free",
        Shape::Text,
    ),
];

const OURS: Variables = Variables {
    prefix: "DR_AGENT_",
    keys: VARIABLES,
    others: &["DR_AGENT_CONFIG", "DR_AGENT_LOG"],
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
