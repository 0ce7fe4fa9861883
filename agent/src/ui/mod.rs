//! The terminal that all binaries share, with the progress of the engine.

pub mod progress;

pub use dr_terminal::{Cell, ColorChoice, Format, LogWriter, Options, Table, Tone, Ui};
