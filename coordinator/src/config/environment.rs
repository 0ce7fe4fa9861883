//! `DR_COORDINATOR_…` variables: each stands for one key of the file. A misspelt variable is refused like a misspelt
//! key.

use dr_proto::model::document::suggest;
use toml::{Table, Value};

use super::error::Error;

/// How a variable's text becomes a TOML value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// Texts separated by commas.
    List,
}

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
    ("DR_COORDINATOR_LIMITS_TASKS", "limits.tasks", Shape::Number),
    ("DR_COORDINATOR_LIMITS_PER_HOST", "limits.per_host", Shape::Number),
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

/// Variables with our prefix that are no keys: read elsewhere.
const NOT_KEYS: &[&str] = &["DR_COORDINATOR_CONFIG", "DR_COORDINATOR_LOG"];

/// Puts one variable into the document; `Ok(false)` if it is not ours.
pub(super) fn apply(document: &mut Table, variable: &str, text: &str) -> Result<bool, Error> {
    if !variable.starts_with("DR_COORDINATOR_") || NOT_KEYS.contains(&variable) {
        return Ok(false);
    }
    let wrong = |reason: String, hint: Option<String>| Error::Variable {
        variable: variable.to_owned(),
        reason,
        hint,
    };
    let Some((_, key, shape)) = VARIABLES.iter().find(|(name, ..)| *name == variable) else {
        let known: Vec<&str> = VARIABLES
            .iter()
            .map(|(name, ..)| *name)
            .chain(NOT_KEYS.iter().copied())
            .collect();
        let hint = suggest(variable, &known, "variable");
        return Err(wrong("no such variable is known".to_owned(), hint));
    };
    let value = shape.value(text).map_err(|reason| wrong(reason, None))?;
    insert(document, key, value).map_err(|reason| wrong(reason, None))?;
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
                .map(Value::Integer)
                .map_err(|_| format!("`{text}` is not a whole number")),
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
fn insert(document: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
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
