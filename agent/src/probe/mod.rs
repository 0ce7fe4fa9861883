//! The agent's side of probes: which one to start, and the file trees it is lent.

mod exits;
mod find;
mod pins;
mod repository;
mod told;

pub use exits::Exits;
pub use find::{find, installed};
pub use pins::PinnedTree;
pub use repository::SnapshotTree;
pub use told::show;

/// The least that a probe needs to open a table with its indices, in bytes.
pub const LEAST_MEMORY: u64 = 1 << 30;
