//! The coordinator's memory: hosts, plans, runs, tasks, results and its audit log, in SQLite.
//!
//! # Overview
//! A [`Store`] is opened once and cloned freely. Each topic has its own room, reached through a small handle:
//! `store.tasks().offer(..)`, `store.plans().apply(..)`. Records that come out are domain types; what goes in was
//! validated by `dr-proto`.
//!
//! # Layout
//! One file a topic, one table or two each. `migrations/` holds the schema. Moments are kept to the microsecond,
//! lists and maps as JSON.
//!
//! # Consistency
//! All writes go through one connection in `BEGIN IMMEDIATE` transactions, with WAL and `synchronous = FULL`: what a
//! method has returned survives a power cut. A change of a run or task names the state and the fence it expects and
//! changes nothing if another was faster. `(plan, slot)` is unique over runs and `(plan, slot, host)` over tasks, so
//! two schedulers, or a scheduler and an agent that worked offline, cannot do the same thing twice. A coordinator holds
//! the [`Lock`] of its store for its life, so that there is one at a time.
//!
//! What an operator changed is written in one transaction with the audit entry that says so: the methods that take a
//! `by` write their own entry.
//!
//! # Crash consistency
//! Every method is one transaction, or a loop over batches in which each batch is whole by itself. A crash between
//! two methods leaves a state that the next pass of a reconciler completes; nothing is remembered outside the store.

pub mod audit;
pub mod certificates;
pub mod clock;
mod column;
mod copy;
pub mod epochs;
pub mod error;
pub mod events;
pub mod expected;
pub mod failpoint;
pub mod hosts;
pub mod inventory;
mod lock;
pub mod machines;
pub mod notes;
pub mod plans;
pub mod proofs;
pub mod reconcilers;
pub mod results;
mod retention;
pub mod runs;
mod store;
pub mod suspensions;
pub mod tasks;
pub mod tokens;

pub use clock::{Clock, SharedClock, SystemClock};
pub use copy::Checked;
pub use epochs::Epoch;
pub use error::{Error, Result};
pub use lock::Lock;
pub use retention::Pruned;
pub use store::{Change, Store};

#[cfg(test)]
mod tests;
