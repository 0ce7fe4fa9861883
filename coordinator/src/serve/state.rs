//! What the coordinator says about itself to Prometheus and to whoever asks whether it is ready.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dr_telemetry::endpoint::{Daemon, Endpoint};
use jiff::SignedDuration;
use prometheus::Registry;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use crate::metrics::{Metrics, derive as derive_state};

/// How often gauges are derived and readiness is looked at: as often as Prometheus usually asks.
const EVERY: Duration = Duration::from_secs(15);
/// How long a look may take.
const LONGEST: Duration = Duration::from_secs(60);
/// A reconciler that has not succeeded for so long is dead.
const DEAD: SignedDuration = SignedDuration::from_mins(10);

/// What the endpoint tells.
#[derive(Debug)]
struct Said {
    metrics: Metrics,
    hindrances: Arc<Mutex<Vec<String>>>,
}

impl Daemon for Said {
    fn metrics(&self) -> &Registry {
        self.metrics.registry()
    }

    fn hindrances(&self) -> Vec<String> {
        self.hindrances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Serves the endpoint until `serving` is cancelled.
pub(super) async fn expose(core: Core, endpoint: Endpoint, serving: CancellationToken) {
    let hindrances = Arc::new(Mutex::new(vec!["it was not looked at yet".to_owned()]));
    let said = Arc::new(Said {
        metrics: core.metrics.clone(),
        hindrances: hindrances.clone(),
    });
    let look = async {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let found = hindrances_of(&core).await;
            *hindrances.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    };
    let served = tokio::select! {
        served = endpoint.serve(said, serving.clone()) => served,
        () = look => Ok(()),
    };
    if let Err(error) = served {
        let error = dr_terminal::in_one_line(&error);
        tracing::error!(%error, "the endpoint for metrics ended");
    }
}

/// Why the coordinator can not do its work: the store takes no writes, or a reconciler is dead.
async fn hindrances_of(core: &Core) -> Vec<String> {
    let mut found = Vec::new();
    match timeout(EVERY, core.store.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => found.push(format!(
            "the store takes no writes: {}",
            dr_terminal::in_one_line(&error)
        )),
        Err(_) => found.push(format!("the store does not answer within {} s", EVERY.as_secs())),
    }
    match core.store.reconcilers().list().await {
        Ok(reconcilers) => {
            let now = core.clock.now();
            for reconciler in reconcilers {
                // Retention and backups pass once an hour; what they miss is a concern, and no reason not to serve.
                if matches!(reconciler.name.as_str(), "retention" | "backup") {
                    continue;
                }
                let since = reconciler.last_success.unwrap_or(reconciler.first_seen);
                if now.duration_since(since) > DEAD {
                    let (name, error) = (reconciler.name, reconciler.last_error);
                    found.push(format!("the {name} has not succeeded since {since}: {error}"));
                }
            }
        }
        Err(error) => found.push(format!(
            "reconcilers are not known: {}",
            dr_terminal::in_one_line(&error)
        )),
    }
    found
}

/// Derives the gauges now and then until `working` is cancelled.
pub(super) async fn derive(core: Core, working: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = working.cancelled() => return,
            _ = tick.tick() => {}
        }
        match timeout(LONGEST, derive_state(&core.sight())).await {
            Ok(Ok(families)) => core.metrics.set_state(families),
            Ok(Err(error)) => {
                let error = dr_terminal::in_one_line(&error);
                tracing::warn!(%error, "metrics could not be derived; the last ones stay");
            }
            Err(_) => tracing::warn!("metrics could not be derived within {} s", LONGEST.as_secs()),
        }
    }
}
