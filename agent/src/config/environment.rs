//! `DR_AGENT_…` variables: each stands for one key of the file. A misspelt variable is refused like a misspelt key.

use toml::{Table, Value};

use super::error::Error;
use dr_proto::model::document::suggest;

/// How a variable's text becomes a TOML value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Text,
    /// `true` or `false`.
    Switch,
    /// A number.
    Number,
    /// Texts separated by commas.
    List,
}

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

/// Variables with our prefix that are no keys: read elsewhere.
const NOT_KEYS: &[&str] = &["DR_AGENT_CONFIG", "DR_AGENT_LOG"];

/// Puts one variable into the document; `Ok(false)` if it is not ours.
pub(super) fn apply(document: &mut Table, variable: &str, text: &str) -> Result<bool, Error> {
    if !variable.starts_with("DR_AGENT_") || NOT_KEYS.contains(&variable) {
        return Ok(false);
    }
    let Some((_, key, shape)) = VARIABLES.iter().find(|(name, ..)| *name == variable) else {
        let known: Vec<&str> = VARIABLES
            .iter()
            .map(|(name, ..)| *name)
            .chain(NOT_KEYS.iter().copied())
            .collect();
        return Err(Error::Variable {
            variable: variable.to_owned(),
            reason: "no such variable is known".to_owned(),
            hint: suggest(variable, &known, "variable"),
        });
    };
    let value = shape.value(text).map_err(|reason| Error::Variable {
        variable: variable.to_owned(),
        reason,
        hint: None,
    })?;
    insert(document, key, value).map_err(|reason| Error::Variable {
        variable: variable.to_owned(),
        reason,
        hint: None,
    })?;
    Ok(true)
}

impl Shape {
    fn value(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text => Ok(Value::String(text.to_owned())),
            Self::Switch => text
                .parse()
                .map(Value::Boolean)
                .map_err(|_| format!("`{text}` is not `true` or `false`")),
            Self::Number => text
                .parse()
                .map(Value::Float)
                .map_err(|_| format!("`{text}` is not a number")),
            Self::List => Ok(Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| Value::String(part.to_owned()))
                    .collect(),
            )),
        }
    }
}

/// Sets a dotted key, making tables on the way.
pub(super) fn insert(document: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let (path, last) = match key.rsplit_once('.') {
        Some((path, last)) => (path, last),
        None => ("", key),
    };
    let mut table = document;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        table = table
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` is not a section in the file"))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}
