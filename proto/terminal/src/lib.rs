//! What the binaries print: results, talk, tables, progress, reports, errors; and how they begin and end.
//!
//! # Overview
//! [`Ui`] is the one place that writes: data on stdout, talk on stderr. [`Table`] and [`page()`] draw results,
//! [`progress`] shows work, [`Failure`] says why a command did not do what it was asked, [`start`] leads from `main`
//! to a command and back to an exit code. All binaries share it, so that an error, a flag or an exit code never
//! means one thing here and another there.

pub mod arguments;
mod failure;
mod page;
pub mod progress;
pub mod start;
mod table;
mod tame;
mod ui;

pub use dr_proto::causes::{causes, in_one_line};
pub use failure::{Classify, Failure, Said};
pub use page::page;
pub use table::{Cell, Table};
pub use tame::line as one_line;
pub use ui::{ColorChoice, Format, LogWriter, Options, Tone, Ui};
