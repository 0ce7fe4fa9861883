//! The agent of one data host: snapshots, restores, drills and their reports.
//!
//! # Overview
//! [`cli`] parses a command line and runs one command with a [`session::Session`]: the configuration
//! ([`config`]), the terminal ([`ui`]), the state folder ([`state`]) and the token that ends work ([`stop`]).
//! Whatever goes wrong becomes a [`error::Failure`] and one of the codes of [`exit`].

pub mod cli;
pub mod config;
pub mod discover;
pub mod doctor;
pub mod error;
pub mod exit;
pub mod key;
pub mod session;
pub mod state;
pub mod stop;
pub mod ui;
