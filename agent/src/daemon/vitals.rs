//! Figures of the host that heartbeats and metrics tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::state::scratch;

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
    in_use: AtomicU64,
    kept: AtomicU64,
    /// Sources that the last look at them found damaged, and what was said then.
    damaged: Mutex<BTreeMap<String, String>>,
}

impl Vitals {
    /// A snapshot begins; until the answer is dropped its pins may be held.
    pub fn snapshot(&self) -> Held {
        *self.since() = Some(Instant::now());
        Held(self.clone())
    }

    /// What work found of sources: whether each is whole, `None` where nothing was said of it; and what was said.
    pub fn found(&self, sources: &[(String, Option<bool>)], message: &str) {
        let mut damaged = self.damaged();
        for (source, whole) in sources {
            match whole {
                Some(true) => drop(damaged.remove(source)),
                Some(false) => drop(damaged.insert(source.clone(), message.to_owned())),
                None => {}
            }
        }
    }

    /// What is wrong with a source since the last look at it.
    pub fn damage(&self, source: &str) -> Option<String> {
        self.damaged().get(source).cloned()
    }

    fn damaged(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0
            .snapshot_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Age of the snapshot under way: no pin of the daemon is older. `None`: none is held.
    pub fn oldest_pin(&self) -> Option<Duration> {
        self.since().map(|since| since.elapsed())
    }

    /// Bytes in scratch when it was last measured: of work under way, and of what is kept for a look.
    pub fn scratch(&self) -> (u64, u64) {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        (read(&self.0.in_use), read(&self.0.kept))
    }

    /// All bytes in scratch when it was last measured.
    pub fn scratch_bytes(&self) -> u64 {
        let (in_use, kept) = self.scratch();
        in_use + kept
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
            match tokio::task::spawn_blocking(move || measured(&folder)).await {
                Ok((in_use, kept)) => {
                    self.0.in_use.store(in_use, Ordering::Relaxed);
                    self.0.kept.store(kept, Ordering::Relaxed);
                }
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

/// Bytes of work under way, and of what is kept for a look.
fn measured(scratch: &Path) -> (u64, u64) {
    let (mut in_use, mut kept) = (0, 0);
    let folders = std::fs::read_dir(scratch)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    for folder in folders.map(|entry| entry.path()) {
        let is_kept = scratch::owner(&folder).is_some_and(|owner| owner.keep_until.is_some());
        *(if is_kept { &mut kept } else { &mut in_use }) += bytes(folder);
    }
    (in_use, kept)
}

/// Bytes of all files below a folder, links not followed. What vanishes meanwhile does not count.
pub(crate) fn bytes(folder: PathBuf) -> u64 {
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
    fn a_damaged_source_is_remembered_until_it_is_found_whole() {
        let vitals = Vitals::default();
        let found = |whole| vitals.found(&[("memory".to_owned(), whole)], "it can not be decoded");
        found(Some(false));
        found(None);
        assert_eq!(vitals.damage("memory").as_deref(), Some("it can not be decoded"));
        assert_eq!(vitals.damage("audit"), None);
        found(Some(true));
        assert_eq!(vitals.damage("memory"), None);
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

    #[test]
    fn what_is_kept_for_a_look_is_told_apart() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let area = scratch::Area::new(dir.path());
        let kept = area.claim("drill", now).expect("claim").keep(now).expect("keep");
        let used = area.claim("drill", now).expect("claim");
        std::fs::write(kept.join("a"), vec![0; 10_000]).expect("write");
        std::fs::write(used.path().join("b"), vec![0; 20_000]).expect("write");
        let (in_use, kept) = measured(dir.path());
        assert!((20_000..21_000).contains(&in_use), "{in_use}");
        assert!((10_000..11_000).contains(&kept), "{kept}");
    }
}
