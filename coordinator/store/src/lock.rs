//! One coordinator to a store: a lock file beside the database, held by an `flock` for the coordinator's life.
//!
//! # Overview
//! Slots and fences keep two coordinators from doing the same thing twice, but agents attach to one of them only, and
//! whatever either remembers outside of the store (queues, waves in flight, what was told) would be half of the truth.
//! So a second one does not start at all. Copies of the store are made without the lock: they only read.
//!
//! # Crash consistency
//! The kernel lets go of the lock when the process ends, however it ends. The file stays, which is fine: it is the lock
//! on it that counts, and what it says is only for whoever is refused.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::Store;

/// The most of a lock file that is read: it holds one line.
const LONGEST: u64 = 256;

/// The right to work on a store, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of the store at `url`, or says who has it.
    pub fn take(url: &str, clock: &dyn Clock) -> Result<Self> {
        let store = Store::file_of(url)?;
        let path = beside(&store);
        let failed = |source| Error::Lock {
            path: path.clone(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::Held {
                    holder: holder(&mut file),
                    store,
                    lock: path,
                });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        let holder = format!("process {}, since {:.0}\n", std::process::id(), clock.now());
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An old name in the file would only mislead a reader.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(%error, "the lock file keeps the name of its last holder");
        }
    }
}

/// `state.db.lock`.
fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// What the holder wrote down; it may not have come to that yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(LONGEST).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) => "a process that has not said which".to_owned(),
        Err(error) => format!("a process whose name can not be read ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::HandClock;

    #[test]
    fn the_second_is_told_who_holds_the_store_and_may_have_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/state.db", dir.path().display());
        let clock = HandClock::new();
        let first = Lock::take(&url, &*clock).unwrap();
        let refused = Lock::take(&url, &*clock).unwrap_err();
        let said = refused.to_string();
        let who = format!("process {}, since 2026-11-26T03:00:00Z", std::process::id());
        for word in [who.as_str(), "state.db", "state.db.lock", "stop it"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        assert!(!refused.is_permanent(), "the other one may end");
        drop(first);
        let _mine = Lock::take(&url, &*clock).unwrap();
    }

    #[tokio::test]
    async fn a_store_that_is_held_can_be_copied() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/state.db", dir.path().display());
        let clock = HandClock::new();
        let _held = Lock::take(&url, &*clock).unwrap();
        let held = Store::open(&url, clock.clone()).await.unwrap();
        held.epochs().begin("0.1.0").await.unwrap();
        let copier = Store::open(&url, clock).await.unwrap();
        let copy = dir.path().join("copy.db");
        copier.copy_to(&copy).await.unwrap();
        assert_eq!(Store::check_copy(&copy).await.unwrap().epoch, 1);
    }
}
