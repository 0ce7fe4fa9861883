//! The list of hosts that should be there, as somebody else keeps it: a JSON list of hosts with their labels.
//!
//! The coordinator reads it from a file, and operators hand it over; both refuse it as a whole, with the entry that is
//! wrong and why, so that half a list never counts for a whole one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{HostName, LabelError, Labels, ParseHostError};

/// The most hosts that one list holds.
pub const MOST: usize = 50_000;

/// A host that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedHost {
    /// Its name.
    pub host: HostName,
    /// Labels that it has.
    pub labels: Labels,
}

/// Why a list is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// It is no JSON list.
    #[error(
        "it is no JSON list of hosts such as `[{{ \"host\": \"db-1\", \"labels\": {{ \"env\": \"prod\" }} }}]`"
    )]
    Json(#[source] serde_json::Error),
    /// It is longer than any fleet.
    #[error("it names {0} hosts, and {MOST} are the most")]
    TooMany(usize),
    /// It is empty: whoever wants nobody to be expected takes the list away.
    #[error("it names no host: an empty list would expect nobody")]
    Empty,
    /// An entry is not what it should be.
    #[error("entry {number}{}", named(host.as_deref()))]
    Entry {
        /// Which, from 1.
        number: usize,
        /// The host that it names, where it does.
        host: Option<String>,
        /// What is wrong with it.
        #[source]
        source: EntryError,
    },
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// It has not the keys `host` and `labels`, or they hold something else.
    #[error("an object with `host`, and perhaps `labels`, is expected")]
    Shape(#[source] serde_json::Error),
    /// Its name is none.
    #[error("its name is none")]
    Host(#[source] ParseHostError),
    /// Its labels are none.
    #[error("its labels can not be taken")]
    Labels(#[source] LabelError),
    /// The host was named before.
    #[error("the host is named twice")]
    Twice,
}

fn named(host: Option<&str>) -> String {
    host.map(|host| format!(" (`{host}`)")).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reads a list.
///
/// # Errors
/// The first entry that is wrong.
pub fn parse(json: &[u8]) -> Result<Vec<ExpectedHost>, ExpectedError> {
    let entries: Vec<Value> = serde_json::from_slice(json).map_err(ExpectedError::Json)?;
    if entries.is_empty() {
        return Err(ExpectedError::Empty);
    }
    if entries.len() > MOST {
        return Err(ExpectedError::TooMany(entries.len()));
    }
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::with_capacity(entries.len());
    for (number, entry) in (1..).zip(entries) {
        let named = entry.get("host").and_then(Value::as_str).map(str::to_owned);
        let wrong = |source| ExpectedError::Entry {
            number,
            host: named.clone(),
            source,
        };
        let host = one(entry).map_err(wrong)?;
        if !seen.insert(host.host.clone()) {
            return Err(wrong(EntryError::Twice));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn one(entry: Value) -> Result<ExpectedHost, EntryError> {
    let Entry { host, labels } = Entry::deserialize(entry).map_err(EntryError::Shape)?;
    Ok(ExpectedHost {
        host: host.parse().map_err(EntryError::Host)?,
        labels: Labels::try_from(labels).map_err(EntryError::Labels)?,
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_list_of_hosts_is_read() {
        let hosts =
            parse(br#"[{ "host": "db-1", "labels": { "env": "prod" } }, { "host": "db-2" }]"#).unwrap();
        assert_eq!(hosts[0].labels.get("env"), Some("prod"));
        assert_eq!(hosts[1].host.as_str(), "db-2");
        assert!(hosts[1].labels.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_entry_and_reason() {
        for (json, said) in [
            ("{}", "it is no JSON list of hosts"),
            ("[]", "it names no host"),
            (
                r#"[{ "host": "db-1" }, { "name": "db-2" }]"#,
                "entry 2: an object with `host`",
            ),
            (
                r#"[{ "host": "../x" }]"#,
                "entry 1 (`../x`): its name is none: `../x` is not a host name",
            ),
            (
                r#"[{ "host": "db-1", "labels": { "env prod": "" } }]"#,
                "entry 1 (`db-1`): its labels can not be taken",
            ),
            (
                r#"[{ "host": "db-1", "labels": { "cpus": 4 } }]"#,
                "entry 1 (`db-1`): an object with `host`",
            ),
            (
                r#"[{ "host": "db-1" }, { "host": "db-1" }]"#,
                "entry 2 (`db-1`): the host is named twice",
            ),
        ] {
            let error = parse(json.as_bytes()).unwrap_err();
            let chain = crate::causes::in_one_line(&error);
            assert!(chain.starts_with(said), "{chain}");
        }
    }
}
