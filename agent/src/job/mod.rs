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
