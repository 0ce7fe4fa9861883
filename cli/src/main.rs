//! `drctl`: the operator's command line, a pure gRPC client of the coordinator.
//!
//! # Overview
//! [`start`] leads from `main` to a command and back to an exit code. A command (one file each in `commands`) takes
//! its arguments and a [`session::Session`], asks the [`coordinator`], and prints: data on stdout, talk on stderr.
//! [`contexts`] remembers which coordinator and which certificate; [`follow`] watches a run until its end;
//! [`evidence`] gathers what a run measured and draws it. Whatever goes wrong becomes an [`error::Failure`] and one
//! of the exit codes that all binaries share.
//!
//! # Cancellation
//! Ctrl-C ends the command and never the work: what hosts were asked to do goes on, unless
//! `--cancel-on-interrupt` was given.

mod clock;
mod commands;
mod contexts;
mod coordinator;
mod doctor;
mod error;
mod evidence;
mod follow;
mod interrupt;
mod session;
mod show;
mod start;

use std::process::ExitCode;

fn main() -> ExitCode {
    start::main()
}
