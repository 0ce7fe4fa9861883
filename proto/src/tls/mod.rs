//! Mutual TLS: who is at the other end.
//!
//! # Overview
//! Everybody is named by one URI in a certificate ([`Identity`]). [`Files`] say where certificate, key and roots lie;
//! [`Reloading`] holds what they are at the moment. A coordinator answers with [`accept`], whose connections carry a
//! [`Peer`]; agents and operators dial with a [`Connector`].
//!
//! # Layout
//! [`Identity`] and [`Certificate`] are what is claimed, `verify` is who judges it, `material`
//! makes TLS configurations, `server` and `client` use them. Issuing certificates is the coordinator's business.
//!
//! # Consistency
//! TLS 1.3 only; no resumption, so that every connection shows a certificate that is valid *now*; a connection ends
//! when the certificate it was made with does, or when the root that vouches for it is trusted no more. Roots may be two
//! while one replaces the other.

mod certificate;
mod client;
mod connection;
mod dialled;
mod files;
mod install;
mod material;
mod origin;
mod pem;
mod refusal;
mod reloading;
mod server;
mod trouble;
mod verify;

pub use crate::model::{Domain, Identity, ParseIdentityError, Role};
pub use certificate::{Certificate, CertificateError, Serial, names_issuer, other_names};
pub use client::{Address, ConnectError, ConnectTimeouts, Connector, Dialled, ParseAddressError};
pub use connection::Connection;
pub use dialled::Stream;
pub use files::{FileError, Files, read_bundle, read_private_text};
pub use install::{Fresh, InstallError, Secrecy, write};
pub use material::{Material, MaterialError, RootsError};
pub use pem::{PemError, to_pem};
pub use refusal::Refusal;
pub use reloading::{Change, Reloading};
pub use rustls::pki_types::{CertificateDer, UnixTime};
pub use rustls::time_provider::{DefaultTimeProvider as SystemTime, TimeProvider};
pub use server::{Incoming, Limits, Peer, Refusals, accept};
pub use trouble::certificate_trouble;
pub use verify::{PeerError, fingerprint};

#[cfg(test)]
mod tests;
