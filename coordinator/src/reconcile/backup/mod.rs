//! Copies of the store that survive the coordinator's host: consistent, encrypted, a bounded number of them.
//!
//! # Overview
//! A pass looks into the folder for the newest copy. If that is older than wanted, it lets SQLite write a consistent
//! copy beside the store, checks it, encrypts it to the configured age recipients under a temporary name, makes it
//! durable, gives it its final name, and takes the oldest ones away. [`recover`](recover::recover) is the way back.
//!
//! # Layout
//! `state-20261126T100000Z.db.age` in the configured folder. Other files there are never touched.
//!
//! # Crash consistency
//! A file with its final name is whole. What a crash leaves under a temporary name is taken away by the next pass; the
//! clear copy lies in the store's own folder, readable by the coordinator alone, as the store itself is.

mod recover;
mod seal;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use dr_store::Store;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::driver::{Error as PassError, Reconciler};

pub use recover::{Recovered, recover};
pub use seal::parse_recipients;

const PREFIX: &str = "state-";
const SUFFIX: &str = ".db.age";
const PART: &str = ".part";
const STAMP: &str = "%Y%m%dT%H%M%SZ";
/// The clear copy, beside the store.
const CLEAR: &str = ".copy.tmp";

/// How the store is backed up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that copies go to.
    pub to: PathBuf,
    /// How often a copy is wanted.
    pub every: Duration,
    /// How many are kept, at least one.
    pub keep: usize,
    /// age recipients, `age1…`.
    pub recipients: Vec<String>,
}

/// Why a copy could not be made or read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could read the copy.
    #[error("no recipient is configured: name at least one age public key in `backup.recipients`")]
    NoRecipient,
    /// Not an age recipient.
    #[error("`{recipient}` is not an age recipient (`age1…`): {reason}")]
    Recipient {
        /// What was given.
        recipient: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file operation failed.
    #[error("{what} {path}")]
    File {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The copy could not be encrypted.
    #[error("encrypt the copy")]
    Encrypt(#[source] age::EncryptError),
    /// The copy could not be opened with this identity.
    #[error("open the copy {path} with this identity; is it the key that the copy was made for?")]
    Decrypt {
        /// The copy.
        path: PathBuf,
        /// What age said.
        #[source]
        source: age::DecryptError,
    },
    /// The identity file holds no identity.
    #[error("the identity file {path} holds no age identity (`AGE-SECRET-KEY-1…`)")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What age said, if it said something.
        #[source]
        source: Option<age::DecryptError>,
    },
    /// There is a store already.
    #[error("{0} exists: a live store is never overwritten; move it away first if it is lost anyway")]
    Exists(PathBuf),
    /// The store could not be copied, or the copy is not whole.
    #[error("copy the store")]
    Store(#[from] dr_store::Error),
    /// A worker thread ended without an answer.
    #[error("a worker stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Backs the store up.
#[derive(Debug, Clone)]
pub struct Backup {
    store: Store,
    options: Options,
}

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackedUp {
    /// A copy was made.
    Made {
        /// Its name.
        name: String,
        /// Bytes in it.
        bytes: u64,
        /// Old ones taken away.
        pruned: usize,
    },
    /// The newest copy is young enough.
    Fresh {
        /// Its moment.
        newest: Timestamp,
    },
}

impl fmt::Display for BackedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { name, bytes, pruned } => {
                write!(f, "made {name}, {bytes} bytes; {pruned} old ones removed")
            }
            Self::Fresh { newest } => write!(f, "the newest copy is of {newest}"),
        }
    }
}

impl Backup {
    /// A backup of `store`.
    ///
    /// # Errors
    /// When no recipient is given, or one is not an age recipient.
    pub fn new(store: Store, options: Options) -> Result<Self, Error> {
        parse_recipients(&options.recipients)?;
        Ok(Self { store, options })
    }

    /// Makes a copy now, however old the newest is.
    ///
    /// # Errors
    /// When a step fails; copies that exist stay.
    pub async fn now(&self) -> Result<BackedUp, Error> {
        let at = self.store.clock().now();
        let name = format!("{PREFIX}{}{SUFFIX}", stamp(at));
        let clear = clear_copy(self.store.path());
        let (folder, sweep) = (self.options.to.clone(), clear.clone());
        // VACUUM INTO takes an empty file as it is, with its mode.
        tokio::task::spawn_blocking(move || prepare(&folder, &sweep)).await??;
        let copied = self.copy(&clear).await;
        let (options, target) = (self.options.clone(), name.clone());
        let done = tokio::task::spawn_blocking(move || {
            let sealed = copied.and_then(|()| seal::seal(&clear, &options.to, &target, &options.recipients));
            seal::remove(&clear)?;
            let bytes = sealed?;
            Ok::<_, Error>((bytes, prune(&options)?))
        });
        let (bytes, pruned) = done.await??;
        Ok(BackedUp::Made { name, bytes, pruned })
    }

    /// The moment of the newest copy in the folder.
    ///
    /// # Errors
    /// When the folder can not be read.
    pub async fn newest(&self) -> Result<Option<Timestamp>, Error> {
        let folder = self.options.to.clone();
        let copies = tokio::task::spawn_blocking(move || copies(&folder)).await??;
        Ok(copies.last().map(|(at, _)| *at))
    }

    async fn copy(&self, clear: &Path) -> Result<(), Error> {
        self.store.copy_to(clear).await?;
        let checked = Store::check_copy(clear).await?;
        tracing::debug!(?checked, "the copy is whole");
        Ok(())
    }
}

#[async_trait]
impl Reconciler for Backup {
    type Status = BackedUp;

    fn name(&self) -> &'static str {
        "backup"
    }

    async fn pass(&self) -> Result<BackedUp, PassError> {
        let now = self.store.clock().now();
        let every = SignedDuration::try_from(self.options.every).unwrap_or(SignedDuration::MAX);
        // A copy from the future is no copy: a clock was wrong then or is wrong now.
        let newest = self.newest().await?.filter(|at| *at <= now);
        match newest.filter(|at| now.duration_since(*at) < every) {
            Some(newest) => Ok(BackedUp::Fresh { newest }),
            None => Ok(self.now().await?),
        }
    }
}

fn stamp(at: Timestamp) -> String {
    at.strftime(STAMP).to_string()
}

fn clear_copy(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(CLEAR);
    PathBuf::from(name)
}

/// Makes the folder, takes away what a crash left, and makes the empty file that the copy goes into.
fn prepare(folder: &Path, clear: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
    for entry in fs::read_dir(folder).map_err(|source| failed("list", folder, source))? {
        let entry = entry.map_err(|source| failed("list", folder, source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(PART) {
            seal::remove(&entry.path())?;
        }
    }
    seal::remove(clear)?;
    seal::create_private(clear).map(|_| ())
}

/// Copies in the folder with the moments in their names, oldest first.
fn copies(folder: &Path) -> Result<Vec<(Timestamp, PathBuf)>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("list", folder, source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| failed("list", folder, source))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let moment = name.and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        let moment = moment.and_then(|text| DateTime::strptime(STAMP, text).ok());
        if let Some(at) = moment.and_then(|at| TimeZone::UTC.to_timestamp(at).ok()) {
            found.push((at, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Takes the oldest copies away; never the last one.
fn prune(options: &Options) -> Result<usize, Error> {
    let copies = copies(&options.to)?;
    let surplus = copies.len().saturating_sub(options.keep.max(1));
    for (_, path) in copies.iter().take(surplus) {
        seal::remove(path)?;
    }
    Ok(surplus)
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
