//! Traces, logs and the metrics endpoint of the daemons and the command line.
//!
//! # Overview
//! [`start`] wires `tracing` once a process: events go to standard error, as text or as one JSON object a line, each
//! with the id of the trace that it belongs to; spans go to an OpenTelemetry collector over OTLP/gRPC if one is
//! configured. [`propagation`] carries a trace from one process to the next as a W3C `traceparent`.
//! [`endpoint`] serves `/metrics`, `/healthz` and `/readyz`.
//!
//! # Sampling
//! What failed is worth more than what went well, and that is only known at the end. So every span is recorded, a
//! trace's spans are held back in memory until the last open span of this process in it has ended, and only then
//! [`sampling`] decides: a fixed share of all traces, a larger share of those with an error. The memory for it is
//! bounded. What takes longer than a process lives is told when it is over, see [`past`].

pub mod endpoint;
mod logs;
pub mod past;
pub mod propagation;
pub mod sampling;
mod traces;

pub use logs::LogFormat;
pub use traces::{Error, Guard, Options, Otlp, start};
