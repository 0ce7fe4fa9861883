//! The list of hosts that should be there, and what it and the fleet differ in.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::read::{MOST, as_seconds, sorted};
use crate::wire::read::list;
use crate::wire::time::{maybe_length, maybe_moment, moment};
use crate::{v1, wire};

/// What handing a list over changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Hosts in the list.
    pub hosts: u32,
    /// Of them not in the list before.
    pub added: u32,
    /// Hosts that left it.
    pub removed: u32,
}

/// What the list and the fleet differ in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InventoryDiff {
    /// When the list was handed over.
    pub imported: Timestamp,
    /// By whom.
    pub imported_by: String,
    /// Hosts in the list.
    pub hosts: u32,
    /// Hosts of the list that are not there.
    pub missing: Vec<MissingHost>,
    /// Hosts that came in and are not in the list.
    pub unexpected: Vec<UnexpectedHost>,
    /// How long a host of the list may be away.
    #[serde(rename = "missing_after_seconds", serialize_with = "as_seconds")]
    pub missing_after: Option<Duration>,
}

/// A host of the list that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingHost {
    /// The host.
    pub host: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Since when it is in the list.
    pub listed: Timestamp,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// Why it counts as missing.
    pub reason: String,
    /// It is missing for longer than hosts may be away.
    pub overdue: bool,
}

/// A host that nobody expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnexpectedHost {
    /// The host.
    pub host: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it first came in.
    pub enrolled: Option<Timestamp>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
}

impl From<v1::ImportInventoryResponse> for Imported {
    fn from(answer: v1::ImportInventoryResponse) -> Self {
        let v1::ImportInventoryResponse {
            hosts,
            added,
            removed,
        } = answer;
        Self {
            hosts,
            added,
            removed,
        }
    }
}

impl TryFrom<v1::InventoryDiff> for InventoryDiff {
    type Error = wire::Error;

    fn try_from(diff: v1::InventoryDiff) -> Result<Self, wire::Error> {
        let v1::InventoryDiff {
            imported,
            imported_by,
            hosts,
            missing,
            unexpected,
            missing_after,
        } = diff;
        Ok(Self {
            imported: moment("imported", imported)?,
            imported_by,
            hosts,
            missing: list("missing", missing, MOST)?,
            unexpected: list("unexpected", unexpected, MOST)?,
            missing_after: maybe_length("missing_after", missing_after)?,
        })
    }
}

impl TryFrom<v1::MissingHost> for MissingHost {
    type Error = wire::Error;

    fn try_from(host: v1::MissingHost) -> Result<Self, wire::Error> {
        let v1::MissingHost {
            host,
            labels,
            listed,
            last_seen,
            reason,
            overdue,
        } = host;
        Ok(Self {
            host,
            labels: sorted(labels),
            listed: moment("listed", listed)?,
            last_seen: maybe_moment("last_seen", last_seen)?,
            reason,
            overdue,
        })
    }
}

impl TryFrom<v1::UnexpectedHost> for UnexpectedHost {
    type Error = wire::Error;

    fn try_from(host: v1::UnexpectedHost) -> Result<Self, wire::Error> {
        let v1::UnexpectedHost {
            host,
            labels,
            enrolled,
            last_seen,
        } = host;
        Ok(Self {
            host,
            labels: sorted(labels),
            enrolled: maybe_moment("enrolled", enrolled)?,
            last_seen: maybe_moment("last_seen", last_seen)?,
        })
    }
}
