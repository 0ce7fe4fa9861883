//! Objects as files below one directory: a disk, a mounted share.
//!
//! # Layout
//!
//! Each object is the file of its name. Files are `0600` and folders `0700`: without encryption they hold plain data.
//! Beside objects there are only files that are still being written, `.tmp-<uuid>`; a listing does not show them.
//!
//! # Consistency
//!
//! A file appears under its name complete and on disk: written beside it, fsynced, renamed, folder fsynced.
//! `PutMode::Create` renames without replacing, which is atomic.
//!
//! # Cancellation
//!
//! Input and output run on the blocking pool. A dropped call runs to its end there; a hung share costs one of its
//! threads until the kernel answers, and the caller gets [`Error::Unavailable`] after the request timeout.
//!
//! # Crash consistency
//!
//! What a crash leaves is a `.tmp-` file. The first PUT of each process removes those older than a day.

mod failure;
mod walk;
mod write;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;

use self::walk::Walk;
use crate::storage::{
    Capabilities, Error, Key, ObjectMeta, Operation, PutMode, PutOutcome, Result, Storage, Timeouts,
};

/// A repository in a directory.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    root: Arc<Path>,
    timeout: Duration,
    swept: Arc<AtomicBool>,
}

impl LocalStorage {
    /// Takes the directory `root`, which the first PUT creates if it is absent.
    pub fn new(root: impl Into<PathBuf>, timeouts: &Timeouts) -> Result<Self> {
        let root = root.into();
        if root.is_relative() {
            let reason = format!(
                "{} is a relative path: a repository needs an absolute one",
                root.display()
            );
            return Err(Error::Configuration { reason });
        }
        match fs::metadata(&root) {
            Ok(meta) if !meta.is_dir() => {
                let reason = format!(
                    "{} is not a directory: name one, or a path that does not exist yet",
                    root.display()
                );
                Err(Error::Configuration { reason })
            }
            Ok(_) => Ok(Self::at(root, timeouts)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::at(root, timeouts)),
            Err(error) => Err(failure::classify(
                Operation::Head,
                "the repository",
                &root,
                &error,
            )),
        }
    }

    fn at(root: PathBuf, timeouts: &Timeouts) -> Self {
        Self {
            root: root.into(),
            timeout: timeouts.request,
            swept: Arc::default(),
        }
    }

    fn path(&self, operation: Operation, key: &Key) -> Result<PathBuf> {
        let ours = key
            .as_str()
            .rsplit('/')
            .next()
            .is_some_and(|name| !name.starts_with(write::TEMPORARY));
        if ours && key.is_well_formed() {
            return Ok(self.root.join(key.as_str()));
        }
        let reason = "that is no name for an object".to_owned();
        Err(Error::Other {
            operation: operation.as_str(),
            key: key.to_string(),
            reason,
        })
    }

    /// Runs `work` on the blocking pool, for as long as one request may take.
    async fn blocking<T, F>(&self, operation: Operation, key: &str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        match tokio::time::timeout(self.timeout, tokio::task::spawn_blocking(work)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(stopped)) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Cancelled),
            },
            Err(_) => Err(Error::Unavailable {
                operation: operation.as_str(),
                key: key.to_owned(),
                reason: format!("{} gave no answer within {:?}", self.root.display(), self.timeout),
            }),
        }
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn location(&self) -> String {
        url::Url::from_directory_path(&self.root).map_or_else(
            |()| format!("file://{}", self.root.display()),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        )
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            create_only: true,
            own_clock: false,
        }
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        super::check_put(key, &body)?;
        let path = self.path(Operation::Put, key)?;
        let sweep = !self.swept.swap(true, Ordering::Relaxed);
        let root = Arc::clone(&self.root);
        self.blocking(Operation::Put, key.as_str(), move || {
            let object = write::Object {
                root: &root,
                path: &path,
                body: &body,
            };
            let outcome = object.store(mode);
            if sweep && outcome.is_ok() {
                write::sweep(&root, &path);
            }
            outcome.map_err(|error| failure::classify(Operation::Put, relative(&root, &path), &path, &error))
        })
        .await
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let path = self.path(Operation::Get, key)?;
        let key = key.clone();
        let name = key.to_string();
        self.blocking(Operation::Get, &name, move || {
            let failed = |error: io::Error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound(key.clone()),
                _ => failure::classify(Operation::Get, key.as_str(), &path, &error),
            };
            let (file, size) = open_file(&path).map_err(failed)?;
            let range = range.map_or(0..size, |range| range.start.min(size)..range.end.min(size));
            super::check_get(&key, range.end.saturating_sub(range.start))?;
            read(file, range).map_err(failed)
        })
        .await
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let path = self.path(Operation::Head, key)?;
        let key = key.clone();
        let name = key.to_string();
        self.blocking(Operation::Head, &name, move || {
            let found = fs::metadata(&path).and_then(|meta| match meta.is_file() {
                true => Ok((meta.len(), timestamp(meta.modified()?)?)),
                false => Err(io::ErrorKind::NotFound.into()),
            });
            match found {
                Ok((size, modified)) => Ok(ObjectMeta { key, size, modified }),
                Err(error) if is_absent(&error) => Err(Error::NotFound(key)),
                Err(error) => Err(failure::classify(Operation::Head, key.as_str(), &path, &error)),
            }
        })
        .await
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let walk = Walk::new(Arc::clone(&self.root), prefix, after);
        let prefix = prefix.to_owned();
        stream::try_unfold(walk, move |mut walk| {
            let prefix = prefix.clone();
            async move {
                let step = move || walk.page().map(|page| (page, walk));
                let (page, walk) = self.blocking(Operation::List, &prefix, step).await?;
                Ok(match page.is_empty() {
                    true => None,
                    false => Some((stream::iter(page.into_iter().map(Ok)), walk)),
                })
            }
        })
        .try_flatten()
        .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let path = self.path(Operation::Delete, key)?;
        let name = key.to_string();
        let root = Arc::clone(&self.root);
        self.blocking(Operation::Delete, &name, move || match write::remove(&path) {
            Err(error) if !is_absent(&error) => Err(failure::classify(
                Operation::Delete,
                relative(&root, &path),
                &path,
                &error,
            )),
            _ => Ok(()),
        })
        .await
    }
}

fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    match meta.is_file() {
        true => Ok((file, meta.len())),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read(mut file: File, range: Range<u64>) -> io::Result<Bytes> {
    let len = range.end.saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.seek(SeekFrom::Start(range.start))?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn timestamp(time: SystemTime) -> io::Result<Timestamp> {
    Timestamp::try_from(time).map_err(io::Error::other)
}

/// The object's name again, for messages.
fn relative<'a>(root: &Path, path: &'a Path) -> &'a str {
    path.strip_prefix(root)
        .ok()
        .and_then(Path::to_str)
        .unwrap_or("an object")
}

#[cfg(test)]
mod tests;
