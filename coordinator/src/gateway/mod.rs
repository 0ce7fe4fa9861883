//! The agents' side of the coordinator: one stream an agent, dialled by the agent.
//!
//! # Overview
//! [`Live`] knows the streams that are open. A session is the life of one of them: hello, welcome, then messages in
//! both directions until it ends. The [`Announcer`] tells agents of plans and suspensions when these change.
//! Reconcilers reach agents through [`Reach`].
//!
//! # Consistency
//! A stream speaks for the host in its certificate and for no other. Its first message names the tasks that the agent
//! has, and the store is brought in line with that before anything is handed out to it. A result is acknowledged after
//! it was committed, never before.
//!
//! # Retries
//! There are none here. What an agent did not get because its stream ended, it gets after its next hello: what that
//! says of its tasks decides.

mod announce;
mod live;
mod reach;
mod session;

pub use announce::Announcer;
pub use live::{Facts, Live, SendError};
pub use reach::Reach;
pub(crate) use session::{Desk, Session};
