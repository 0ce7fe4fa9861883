//! Figures of the host that heartbeats and metrics tell.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often scratch is measured.
const EVERY: Duration = Duration::from_secs(60);
/// A folder with more entries is measured no further: the figure is then a lower bound.
const MOST_ENTRIES: u64 = 1_000_000;

/// Figures of the host. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    snapshot_since: Mutex<Option<Instant>>,
    scratch: AtomicU64,
}

impl Vitals {
    /// A snapshot begins; until the answer is dropped its pins may be held.
    pub fn snapshot(&self) -> Held {
        *self.since() = Some(Instant::now());
        Held(self.clone())
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.snapshot_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Age of the snapshot under way: no pin of the daemon is older. `None`: none is held.
    pub fn oldest_pin(&self) -> Option<Duration> {
        self.since().map(|since| since.elapsed())
    }

    /// Bytes in scratch when it was last measured.
    pub fn scratch_bytes(&self) -> u64 {
        self.0.scratch.load(Ordering::Relaxed)
    }

    /// Measures scratch again and again, until cancelled.
    pub async fn measure(self, scratch: PathBuf, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            let folder = scratch.clone();
            match tokio::task::spawn_blocking(move || bytes(folder)).await {
                Ok(bytes) => self.0.scratch.store(bytes, Ordering::Relaxed),
                Err(error) => tracing::warn!(%error, "scratch could not be measured"),
            }
        }
    }
}

/// A snapshot is under way as long as this lives.
#[derive(Debug)]
pub struct Held(Vitals);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.since() = None;
    }
}

/// Bytes of all files below a folder, links not followed. What vanishes meanwhile does not count.
fn bytes(folder: PathBuf) -> u64 {
    let (mut folders, mut bytes, mut entries) = (vec![folder], 0, 0);
    while let Some(folder) = folders.pop() {
        let Ok(list) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in list.filter_map(Result::ok) {
            entries += 1;
            if entries > MOST_ENTRIES {
                return bytes;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_has_an_age_while_it_is_under_way() {
        let vitals = Vitals::default();
        assert_eq!(vitals.oldest_pin(), None);
        let held = vitals.snapshot();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(vitals.oldest_pin(), Some(Duration::from_secs(7)));
        drop(held);
        assert_eq!(vitals.oldest_pin(), None);
    }

    #[test]
    fn bytes_of_a_folder_are_those_of_its_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("a")).expect("create");
        std::fs::write(dir.path().join("a/b"), b"1234567").expect("write");
        std::os::unix::fs::symlink("/", dir.path().join("root")).expect("link");
        let link = dir.path().join("root").symlink_metadata().expect("stat").len();
        assert_eq!(bytes(dir.path().to_owned()), 7 + link);
        assert_eq!(bytes(dir.path().join("missing")), 0);
    }
}
