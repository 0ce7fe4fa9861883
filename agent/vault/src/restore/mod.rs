//! A snapshot back onto a file system: plan → execute → commit.
//!
//! ## Overview
//! [`plan()`] works out what would happen and refuses what can not; it is what `--dry-run` prints. [`execute`] writes
//! everything to `<target>.restoring-<id>`, verified and durable. [`Staged::commit`] swaps it in. Between the two the
//! caller may patch what was written.
//!
//! ## Consistency
//! Every chunk is opened and hashed when it is read, every file is read back from disk and compared with the hash
//! of its content at the cut. A path that comes out of the repository never leaves the staging directory: it is held
//! to the rules of [`tree`](crate::tree), and opened beneath the directory's handle without following links.
//!
//! ## Retries
//! Those of the store, inside it. A restore that failed is planned and executed again; with `keep_right_files` it
//! takes what stands at the target.
//!
//! ## Cancellation
//! Writers are waited for; the target is as it was. The staging directories stay: whoever gives the same restore
//! again (repository, snapshot, source, paths, target) goes on from them. Files that are right by hash are kept, of
//! the others each chunk that is right. Another restore to the same target removes them, as does a week without one.
//!
//! ## Crash consistency
//! A journal beside the staging directory, locked by the living, tells what to do: before the swap the next run goes
//! on as after a cancel; once the swap has begun [`sweep()`] ends it: one in one step is done or is not, one entry by
//! entry is taken back. Nothing is ever removed but what the journal says was restored, told by its inode.

mod commit;
mod error;
mod fill;
mod journal;
mod keep;
mod outline;
mod plan;
mod report;
mod resume;
mod selection;
mod site;
mod sites;
mod stage;
mod sweep;
mod target;

use serde::{Deserialize, Serialize};

pub use error::Error;
pub use plan::{MAX_EXAMPLES, Method, Placement, Plan, Warning, plan};
pub use report::{MissingMetadata, PlacedSource, Report};
pub use resume::Partial;
pub use selection::{Existing, Pattern, Place, Selection};
pub use stage::{Staged, execute};
pub use sweep::{Swept, sweep};

/// Points at which a development build can kill itself, in the order in which a restore passes them.
pub const FAILPOINTS: &[&str] = &[
    "restore.journal.written",
    "restore.staging.created",
    "restore.window.written",
    "restore.files.written",
    "restore.staged",
    "restore.swapping",
    "restore.exchanged",
    "restore.entry.swapped",
    "restore.swapped",
    "restore.committed",
];

/// How a restore works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// What may happen to what stands at the target.
    pub existing: Existing,
    /// Take files that are right by hash from the target instead of the repository. Not for drills, which take
    /// every byte from the repository.
    pub keep_right_files: bool,
    /// Make files and directories durable. Only a drill into scratch can go without.
    pub durable: bool,
    /// Ranges fetched and files completed at once; each costs about 8 MiB.
    pub parallel: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            existing: Existing::Refuse,
            keep_right_files: false,
            durable: true,
            parallel: 4,
        }
    }
}

#[cfg(test)]
mod tests;
