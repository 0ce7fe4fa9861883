//! What agent and probe say to each other.
//!
//! # Overview
//! The agent holds the keys and links no Lance; the probe links Lance and holds nothing. Between them stands one
//! socket pair, which is the probe's *standard input*:
//!
//! 1. the agent writes one [`Job`](job::Job);
//! 2. the probe asks for files with the three requests of [`frame`]: stat, list, read a range;
//! 3. the probe writes [`Event`](event::Event)s as JSON lines to standard output and exits.
//!
//! A socket as standard input needs no descriptor juggling between fork and exec, cannot leak into another
//! child, and tells the probe by its end that the agent has died.
//!
//! # Layout
//! Types: [`job`] (what to do), [`measure`] and [`query`] (what was found), [`fault`] (what went wrong),
//! [`event`] (how it is told), [`facts`] (what is kept of a snapshot). [`compare`] judges a measurement by the
//! recorded facts, purely. `tree`, `serve` and `host` are the agent's side (feature `server`), `client` the probe's
//! (feature `client`).
//!
//! # Trust
//! Neither side trusts the other: frames, paths, pages, lines and the number of requests in flight are bounded,
//! and whatever breaks a rule ends the connection. The probe parses hostile bytes, so what it says is judged as
//! a claim of a possibly subverted process: it cannot make the agent allocate without bound, read outside the
//! tree, or wait for ever.

pub mod compare;
pub mod event;
pub mod facts;
pub mod fault;
pub mod frame;
pub mod job;
pub mod measure;
pub mod query;
pub mod sum;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod host;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "server")]
pub mod tree;

/// The version of this protocol; a job of another one is refused.
pub const PROTOCOL: u32 = 1;
