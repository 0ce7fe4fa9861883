//! The fleet's own certificate authority.
//!
//! # Overview
//! An [`Authority`] is a folder that `dr-coordinator pki init` makes. It signs what a [`Request`] proves to hold a key
//! for: only the public key is taken from a request, names and dates are ours. [`rotate`] replaces its root in three
//! steps while everybody keeps working; [`Keeper`] renews the coordinator's own certificate and hands on new roots.
//! Who brings certificates of an authority of their own needs none of this.
//!
//! # Layout
//! ```text
//! <dir>/authority.json          the roots, which of them signs, and until when what it signed is valid
//!       root-<n>.pem, .key      a root, and its key (mode 600)
//!       ca.pem                  the trust bundle: all roots that are to be trusted
//!       .lock                   held while something is signed or rotated
//! ```
//!
//! # Consistency
//! Nothing is kept in memory: each signature reads the folder under the lock. So a running coordinator signs with the
//! right root from the moment a rotation on the command line is done. The methods read and write files: async code
//! calls them on a blocking thread.
//!
//! # Crash consistency
//! `authority.json` is replaced as a whole and names only files that are there already. Before a certificate is handed
//! out, `authority.json` says that something valid so long was signed: no root is ever retired too early. A crash can
//! leave a root's files that are not named, or a signed certificate that nobody got; both are harmless.

mod authority;
mod error;
mod folder;
mod keeper;
mod leaf;
mod request;
pub mod rotate;

pub use authority::{Authority, Issued};
pub use error::Error;
pub use folder::{Phase, Root};
pub use keeper::{Keeper, Kept};
pub use leaf::{Names, new_key, new_secret};
pub use request::Request;

#[cfg(test)]
mod tests;
