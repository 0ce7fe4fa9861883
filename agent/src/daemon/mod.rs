//! The daemon of a fleet's host: dials the coordinator, does what it asks, and goes on without it.
//!
//! # Overview
//! ```text
//! link ⇄ coordinator          one stream, dialled from here
//!   │  tasks in, results out
//! desk ── journal             what is owed, on disk before anybody is told
//!   │  one task at a time
//! executor ── job             what the commands of the same names do
//! offline                     the last plans, while no coordinator answers
//! ```
//! What a coordinator may ask is bounded by the host's own file: see [`allow`]. The host's own switch is the suspend
//! file: see [`gate`].

pub mod allow;
pub mod desk;
pub mod executor;
pub mod gate;
pub mod identity;
pub mod inventory;
pub mod journal;
pub mod link;
pub mod metrics;
pub mod offline;
pub mod prospect;
mod service;
mod systemd;
#[cfg(test)]
pub(crate) mod testing;
pub mod vitals;

pub use service::run;

use std::time::Duration;

/// How often the suspend file is looked for.
const POLL: Duration = Duration::from_secs(2);
