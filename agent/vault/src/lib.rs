//! Repository format and engine: encrypted, deduplicated snapshots on object stores.

pub mod clock;
pub mod failpoint;
pub mod storage;
