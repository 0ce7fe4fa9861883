//! Entries of the audit log, and what a walk of its chain found.

use dr_proto::{v1, wire};
use dr_store::audit::{AuditRecord, Chain};

pub(in crate::service) fn entry(record: AuditRecord) -> v1::AuditEntry {
    let AuditRecord {
        number,
        at,
        actor,
        action,
        subject,
        details,
        hash,
    } = record;
    v1::AuditEntry {
        number,
        at: Some(wire::timestamp(at)),
        actor,
        action,
        subject,
        details: details.to_string(),
        hash,
    }
}

pub(in crate::service) fn chain(chain: Chain) -> v1::VerifyAuditResponse {
    match chain {
        Chain::Intact { entries, head } => v1::VerifyAuditResponse {
            intact: true,
            entries,
            head: head.to_string(),
            broken_at: 0,
            reason: String::new(),
        },
        Chain::Broken { entries, at, reason } => v1::VerifyAuditResponse {
            intact: false,
            entries,
            head: String::new(),
            broken_at: at,
            reason,
        },
    }
}
