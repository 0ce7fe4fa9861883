//! Who may call what: every call passes here before anything else sees it.
//!
//! # Overview
//! [`rules`] says which role a method wants. [`Guard`] is the layer in front of all services: it compares the caller's
//! certificate with the rule and with what was revoked, and refuses with a stable code. [`refusals`] counts what was
//! refused and writes it into the audit log without letting a flood fill it. [`revocations`] knows what was revoked
//! and says so to streams that are open.

mod guard;
pub mod refusals;
pub mod revocations;
pub mod rules;

pub use guard::{Caller, Guard};
