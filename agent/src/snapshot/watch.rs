//! Watches over pins while they are held: their age, and the space that they keep from being freed.

use std::sync::Arc;
use std::time::Duration;

use dr_lance::pins::{Breach, FreeSpace, Watch};
use dr_vault::clock::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::cut::{Content, Cut};

/// Ceilings of what a cut may hold on to.
#[derive(Debug, Clone, Copy)]
pub struct PinLimits {
    /// The longest that pins are held.
    pub max_age: Duration,
    /// What stays free on the file system of every database.
    pub min_free: FreeSpace,
}

/// How often the watch looks.
const EVERY: Duration = Duration::from_secs(5);

/// Runs `work` with a token of its own; when a limit is passed, the token is cancelled, `work` is waited for, and
/// the breach is told beside what it answered.
pub(super) async fn watched<T>(
    cut: &Arc<Cut>,
    limits: PinLimits,
    clock: &SharedClock,
    cancel: &CancellationToken,
    work: impl AsyncFnOnce(CancellationToken) -> T,
) -> (T, Option<Breach>) {
    let token = cancel.child_token();
    let watch = async {
        let breach = first_breach(cut, limits, clock).await;
        token.cancel();
        breach
    };
    let work = work(token.clone());
    tokio::pin!(watch, work);
    tokio::select! {
        biased;
        done = &mut work => (done, None),
        breach = &mut watch => (work.await, Some(breach)),
    }
}

async fn first_breach(cut: &Arc<Cut>, limits: PinLimits, clock: &SharedClock) -> Breach {
    let watch = Watch::new(cut.from, limits.max_age, limits.min_free);
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        let (cut, watch, now) = (Arc::clone(cut), watch.clone(), clock.now());
        match tokio::task::spawn_blocking(move || look(&cut, &watch, now)).await {
            Ok(Some(breach)) => return breach,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "what the pins hold back could not be looked at"),
        }
    }
}

fn look(cut: &Cut, watch: &Watch, now: jiff::Timestamp) -> Option<Breach> {
    let databases = cut.sources.iter().filter_map(|held| match &held.content {
        Content::Database(collected) => Some(collected),
        Content::Log(_) => None,
    });
    for collected in databases {
        match watch.observe(now, collected.path(), collected.held_bytes()) {
            Ok(seen) if seen.breach.is_some() => return seen.breach,
            Ok(_) => {}
            // The database folder may be gone while its pins are still good: that is no reason to drop them.
            Err(error) => {
                tracing::debug!(%error, path = %collected.path().display(), "free space is not known")
            }
        }
    }
    None
}
