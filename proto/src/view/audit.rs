//! The coordinator's own audit log.

use jiff::Timestamp;
use serde::Serialize;

use super::read::some;
use crate::wire::time::moment;
use crate::{v1, wire};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The identity that acted.
    pub actor: String,
    /// What it did.
    pub action: String,
    /// To what.
    pub subject: String,
    /// JSON with the particulars.
    pub details: String,
    /// Hash of this entry and of all before it, hex.
    pub hash: String,
}

/// What a walk over the chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditCheck {
    /// Whether all entries fit.
    pub intact: bool,
    /// How many there are.
    pub entries: u64,
    /// Head of the chain, hex.
    pub head: String,
    /// The first entry that does not fit.
    pub broken_at: Option<u64>,
    /// What is wrong with it.
    pub reason: Option<String>,
}

impl TryFrom<v1::AuditEntry> for AuditEntry {
    type Error = wire::Error;

    fn try_from(entry: v1::AuditEntry) -> Result<Self, wire::Error> {
        let v1::AuditEntry {
            number,
            at,
            actor,
            action,
            subject,
            details,
            hash,
        } = entry;
        Ok(Self {
            number,
            at: moment("at", at)?,
            actor,
            action,
            subject,
            details,
            hash,
        })
    }
}

impl From<v1::VerifyAuditResponse> for AuditCheck {
    fn from(answer: v1::VerifyAuditResponse) -> Self {
        let v1::VerifyAuditResponse {
            intact,
            entries,
            head,
            broken_at,
            reason,
        } = answer;
        Self {
            intact,
            entries,
            head,
            broken_at: (broken_at > 0).then_some(broken_at),
            reason: some(reason),
        }
    }
}
