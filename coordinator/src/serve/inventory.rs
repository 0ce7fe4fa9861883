//! Hosts that should be there, from a file that somebody else keeps: a host that never enrols is then missed.
//!
//! # Overview
//! The file is a JSON list: `[{ "host": "db-1", "labels": { "env": "prod" } }]`. It is read when it changes. Hosts in
//! it are expected, with these labels; a host that leaves it stays known, and is retired by an operator.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dr_proto::model::expected::{self, ExpectedError};
use dr_store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(30);
/// The largest file that is read: some hundred thousand hosts.
const LARGEST: u64 = 32 << 20;
/// Who imports, for the audit log.
const BY: &str = "coordinator";

/// Why the hosts in the file are not expected at present. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// The trouble, if there is any.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Why the file is not taken over.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has {size} bytes, at most {LARGEST} are read", path.display())]
    TooLarge { path: PathBuf, size: u64 },
    #[error("take over {}", path.display())]
    List { path: PathBuf, source: ExpectedError },
    #[error("expect the hosts in {}", path.display())]
    Store { path: PathBuf, source: dr_store::Error },
}

/// Follows the file until `working` is cancelled.
pub(super) async fn follow(store: Store, file: PathBuf, trouble: Trouble, working: CancellationToken) {
    let mut taken = None;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = working.cancelled() => return,
            _ = tick.tick() => {}
        }
        let before = trouble.get();
        let now = match look(&store, &file, &mut taken).await {
            Ok(()) => None,
            Err(error) => Some(dr_terminal::in_one_line(&error)),
        };
        if let Some(trouble) = now.as_ref().filter(|_| now != before) {
            tracing::error!(
                trouble,
                "the list of expected hosts is not taken over; the last one stays"
            );
        }
        trouble.set(now);
    }
}

/// Takes the file over if it is another one than last time.
async fn look(store: &Store, file: &Path, taken: &mut Option<blake3::Hash>) -> Result<(), Error> {
    let failed = |source| Error::Read {
        path: file.to_owned(),
        source,
    };
    let size = tokio::fs::metadata(file).await.map_err(failed)?.len();
    if size > LARGEST {
        return Err(Error::TooLarge {
            path: file.to_owned(),
            size,
        });
    }
    let bytes = tokio::fs::read(file).await.map_err(failed)?;
    let hash = blake3::hash(&bytes);
    if *taken == Some(hash) {
        return Ok(());
    }
    let hosts = expected::parse(&bytes).map_err(|source| Error::List {
        path: file.to_owned(),
        source,
    })?;
    let stored = |source| Error::Store {
        path: file.to_owned(),
        source,
    };
    store.expected().replace(&hosts, BY).await.map_err(stored)?;
    tracing::info!(hosts = hosts.len(), "took over the list of expected hosts");
    *taken = Some(hash);
    Ok(())
}
