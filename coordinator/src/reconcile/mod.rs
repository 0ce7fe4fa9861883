//! Reconcilers: each compares what should be with what is, acts, and says what it did.
//!
//! # Overview
//! | reconciler | compares | acts |
//! |---|---|---|
//! | [`scheduler`] | slots that are due with runs that exist | makes runs and their tasks |
//! | [`dispatcher`] | queued tasks with caps, waves and connected agents | hands tasks out, tells agents to stop |
//! | [`reaper`] | tasks at work with their deadlines and their agents | expires, loses, queues again |
//! | [`settler`] | runs with their tasks | ends runs |
//! | [`retention`] | history with its retention times | forgets |
//! | [`backup`] | the newest copy of the store with how often one is wanted | copies, encrypts, prunes |
//!
//! A pass takes no input but the store and the clock, may run at any time and twice, and does nothing the second time.
//! [`Driver`] runs it every so often and when nudged, one pass at a time, and writes down when it last succeeded.
//!
//! What only answers questions is not a reconciler: [`planner`] (what would this plan do?), [`objectives`] (what is
//! proved?), [`watchdog`] (what needs somebody?). They read the store and never trust that a reconciler runs.
//!
//! # Retries
//! None inside a pass: the next pass is the retry.
//!
//! # Crash consistency
//! Everything a pass does is a transaction of the store, or a message that may get lost. A pass that dies in the middle
//! leaves work for the next one.

pub mod backup;
pub mod dispatch;
pub mod dispatcher;
pub mod driver;
pub mod fleet;
pub mod gateway;
pub mod hello;
pub mod missing;
pub mod objectives;
pub mod planner;
pub mod reaper;
pub mod retention;
pub mod scheduler;
pub mod service;
pub mod settler;
mod trace;
pub mod watchdog;

pub use driver::{Driver, Nudge, Reconciler};
pub use fleet::FleetState;
pub use gateway::{Gateway, Unreachable};
pub use scheduler::start_plan;
pub use service::{Options, Service};
pub(crate) use trace::trace_id;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
