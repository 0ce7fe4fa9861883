//! LanceDB's files: discovery, manifests, closures, pins, the cut.
//!
//! # Overview
//! This crate holds a live LanceDB database still while its application keeps writing, without the
//! application's help, without writing anything into its folder, and without linking Lance: what it needs of
//! the format is decoded here, so that a new release of Lance cannot break a backup.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | names inside a table's folder, and what each promises |
//! | [`manifest`] | the manifest decoder |
//! | [`closure`] | what one version needs on disk |
//! | [`discover()`] | where tables are |
//! | [`patch`] | base paths of a restored copy |
//! | [`pins`] | what keeps a file's bytes within reach after its writer deletes it |
//! | [`check`] | quick checks of a live database |
//! | [`collect()`] | the cut of one database |
//!
//! ```no_run
//! # fn main() -> Result<(), dr_lance::Error> {
//! let options = dr_lance::CollectOptions::default();
//! let mut cut = dr_lance::collect("/srv/app/data/db".as_ref(), &options)?;
//! // … collect other sources …
//! let moved = cut.moved()?;
//! if !moved.is_empty() {
//!     cut.recollect(&moved)?;
//! }
//! # Ok(())
//! # }
//! ```

pub mod check;
pub mod closure;
mod collect;
mod dir;
mod discover;
mod error;
#[cfg(test)]
mod fixtures;
mod index_file;
pub mod layout;
pub mod manifest;
pub mod patch;
pub mod pins;
mod report;

pub use collect::{CollectOptions, Collected, EntryKind, History, PinnedEntry, collect, try_pins};
pub use discover::{Found, discover, discover_while};
pub use error::Error;
pub use report::{
    Damage, Excluded, Exclusion, ExternalBase, IndexStamp, Mode, Problem, TableStamp, TagStamp,
};
