//! Between the generated messages and the domain model: receivers validate once, senders can not fail.
//!
//! # Overview
//! A receiver converts with `TryFrom`: what must be there is there, what stands for something was read, every text
//! and list is within [`limits`], and an error names the field by its path. A sender converts with `From`. Messages
//! are taken apart field by field, so that a new field breaks the build where it must be read.
//!
//! # Version skew
//! Fields that a newer peer added are passed over by the decoder. Where it put something that has no meaning here (a
//! kind of message, of task, of state), the error is [`Error::Unknown`], and the caller may pass over the message.

mod error;
mod from_agent;
mod host;
pub mod limits;
pub(crate) mod read;
pub(crate) mod task;
pub(crate) mod time;
mod to_agent;
mod work;

pub use error::Error;
pub use time::{duration, timestamp};

#[cfg(test)]
mod tests;
