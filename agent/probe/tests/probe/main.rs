//! The real programs over a real socket, on good data and on damaged data.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can not go on says where, and one that is skipped says so"
)]

mod damage;
mod detection;
mod fixtures;
mod folder;
mod limits;
mod rig;
mod sample;
mod unpack;
