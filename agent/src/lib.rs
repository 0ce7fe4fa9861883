//! The agent of one data host: snapshots, restores, drills and their reports.
//!
//! # Overview
//! [`cli`] parses a command line and runs one command with a [`session::Session`]: the configuration
//! ([`config`]), the terminal ([`ui`]), the state folder ([`state`]) and the token that ends work ([`stop`]).
//! Whatever goes wrong becomes a [`error::Failure`] and one of the codes of [`exit`].

pub mod check;
pub mod cli;
pub mod config;
pub mod cut;
pub mod daemon;
pub mod discover;
pub mod doctor;
pub mod drill;
pub mod error;
pub mod hold;
pub use dr_proto::model::exit;
pub mod job;
pub mod key;
pub mod limits;
pub mod probe;
pub mod report;
pub mod restore;
pub mod session;
pub mod snapshot;
pub mod stamp;
pub mod state;
pub mod stop;
pub mod ui;
