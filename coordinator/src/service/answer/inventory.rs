//! The list of expected hosts, and what it and the fleet differ in.

use dr_proto::{v1, wire};
use dr_store::expected::Imported;

use super::agent::labels;
use super::maybe;
use crate::handle::DiffView;
use crate::reconcile::missing::{Missing, Unexpected};

pub(in crate::service) fn imported(hosts: usize, done: Imported) -> v1::ImportInventoryResponse {
    let Imported { added, removed } = done;
    v1::ImportInventoryResponse {
        hosts: u32::try_from(hosts).unwrap_or(u32::MAX),
        added: u32::try_from(added).unwrap_or(u32::MAX),
        removed: u32::try_from(removed).unwrap_or(u32::MAX),
    }
}

pub(in crate::service) fn difference(view: DiffView) -> v1::InventoryDiff {
    let DiffView {
        list,
        difference,
        missing_after,
    } = view;
    v1::InventoryDiff {
        imported: Some(wire::timestamp(list.at)),
        imported_by: list.by,
        hosts: u32::try_from(list.hosts.len()).unwrap_or(u32::MAX),
        missing: difference.missing.into_iter().map(missing).collect(),
        unexpected: difference.unexpected.into_iter().map(unexpected).collect(),
        missing_after: Some(wire::duration(missing_after)),
    }
}

fn missing(host: Missing) -> v1::MissingHost {
    let Missing {
        host,
        labels: of,
        listed,
        last_seen,
        reason,
        overdue,
    } = host;
    v1::MissingHost {
        host: host.into(),
        labels: labels(&of),
        listed: Some(wire::timestamp(listed)),
        last_seen: maybe(last_seen),
        reason,
        overdue,
    }
}

fn unexpected(host: Unexpected) -> v1::UnexpectedHost {
    let Unexpected {
        host,
        labels: of,
        enrolled,
        last_seen,
    } = host;
    v1::UnexpectedHost {
        host: host.into(),
        labels: labels(&of),
        enrolled: maybe(enrolled),
        last_seen: maybe(last_seen),
    }
}
