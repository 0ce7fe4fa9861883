//! Who this host is to the fleet: how it gets its certificate, and how it keeps it.
//!
//! # Overview
//! [`enroll()`] trades a one-time token for a certificate: it dials without one, knows the coordinator by the
//! fingerprint in the token, and asks for a certificate for a key that never leaves the host. [`Renewal`] asks for the
//! next one when two thirds of a certificate's life are over, over the connection that the old one opens. [`Expiry`]
//! tells Prometheus when the certificate ends.
//!
//! # Consistency
//! What a coordinator answers is judged before a file is touched: the key fits, the identity is this host's and no
//! other, the roots can be used.
//!
//! # Crash consistency
//! The files are installed so that they fit together after each step: see [`dr_proto::tls::Files::install`]. An
//! enrolment keeps its key beside the key file, so that one that was cut short, or whose answer got lost, is given
//! again with the same token: the coordinator knows the key and answers again. What a crash leaves is that file, which
//! the next enrolment uses and removes.

mod enroll;
mod error;
mod expiry;
mod renewal;
mod request;

pub use enroll::{Enrolled, Enrolment, enroll};
pub use error::Error;
pub use expiry::Expiry;
pub use renewal::{Options, Renewal};

#[cfg(test)]
mod tests;
