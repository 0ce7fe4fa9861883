//! Append-only audit logs: captured at the cut, framed, checked for JSON and hash chain, and proved to go on from the
//! previous snapshot.
//!
//! # Overview
//! A log is the file that an application appends to and the segments that rotation has made of it. [`capture()`] opens
//! them all as they are at one moment; [`verify`](crate::verify()) reads any such set of segments, live, from a
//! repository or from a restored folder, and gives [`LogFacts`]; [`LogFacts::state`] is what the next verification
//! compares with. [`check::quick`] looks at a live log, [`carry::plan`] keeps segments that
//! rotation has removed from the host, [`sniff()`] recognises logs for discovery.
//!
//! Nothing here writes to the host, and nothing needs the writer's help.
//!
//! # What is proved
//! * framing: records end with `\n`, only the log's very end may be torn;
//! * JSON, if the log is of JSON lines;
//! * the hash chain, if one is configured: each altered, removed, moved or doubled line is named;
//! * continuity: every byte that the previous snapshot saw is still there. Neither sequence numbers nor a chain see a
//!   lost tail; length and hash of what was there do.

mod canonical;
pub mod capture;
pub mod carry;
mod chain;
pub mod check;
pub mod continuity;
mod encoding;
pub mod facts;
#[cfg(test)]
mod fixture;
mod json;
mod lines;
mod options;
mod prefix;
mod scan;
mod sniff;
pub mod state;
mod time;
mod verify;

pub use capture::{Captured, Movement, Segment, capture};
pub use continuity::{Continuity, Standing};
pub use encoding::Encoding;
pub use facts::{Fault, FaultKind, Finding, LogFacts, Weight};
pub use options::{
    Algorithm, Canonical, CaptureLimits, ChainConfig, Format, Input, LogOptions, ReadLimits, VerifyOptions,
};
pub use sniff::{Confidence, Sniffed, sniff};
pub use state::LogState;
pub use verify::{Error, Verifier, verify};
