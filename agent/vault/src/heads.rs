//! What this host remembers of a repository, so that an older state put back is noticed.

use crate::id::SnapshotId;

/// Whether the repository is as new as what this host remembers of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// The newest snapshot that this host knows of is there, and so is everything it remembers.
    Fresh,
    /// An older state was put back: something remembered is gone.
    RolledBack {
        /// The newest snapshot remembered.
        expected: SnapshotId,
        /// The newest snapshot found.
        found: Option<SnapshotId>,
    },
    /// This host remembers nothing of the repository: freshness unknown.
    Unknown,
}
