//! What one host can be asked to do, from the lock to the answer: one file a kind of work.
//!
//! ## Overview
//! A job takes a [`Session`](crate::session::Session) and what is asked, and answers with what was measured. The
//! command line prints the answer for people or as JSON; the daemon sends the same JSON to the coordinator. Neither
//! holds a step of its own, so that what an operator rehearses by hand is what the fleet does.

mod application;
pub mod check;
pub mod drill;
pub mod hold;
pub(crate) mod probes;
pub mod restore;
pub mod snapshot;

use dr_vault::{Freshness, Repository};

/// What to say of a repository that lacks a snapshot which this host remembers.
pub(crate) async fn rolled_back(repository: &Repository) -> Option<String> {
    match repository.freshness().await {
        Ok(Freshness::RolledBack { expected, .. }) => Some(format!(
            "this host remembers snapshot {expected}, which is not in the repository: an older state was put back, or \
             it was removed; if that was on purpose, remove {} to forget it",
            repository.memory().display()
        )),
        Ok(Freshness::Fresh | Freshness::Unknown) => None,
        Err(error) => {
            tracing::debug!(%error, "freshness cannot be told");
            None
        }
    }
}
