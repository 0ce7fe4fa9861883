//! A coordinator in this process, over real mutual TLS on port 0, with agents and operators that are plain clients.

#![expect(clippy::unwrap_used, reason = "a test that can not go on says where")]

mod access;
mod attach;
mod enrolment;
mod plans;
mod restart;
mod results;
mod runs;
mod streams;
mod world;
