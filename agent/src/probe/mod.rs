//! The agent's side of probes: which one to start, and the file trees it is lent.

mod find;
mod pins;
mod repository;

pub use find::find;
pub use pins::PinnedTree;
pub use repository::SnapshotTree;
