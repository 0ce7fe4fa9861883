//! What runs beside the services: reconcilers, and whatever keeps an eye on something.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::Core;
use super::{Error, inventory, state};
use crate::access::refusals::Auditor;
use crate::config::Config;
use crate::gateway::{Announcer, Reach};
use crate::pki::Keeper;
use crate::reconcile::dispatch::Caps;
use crate::reconcile::retention::Keep;
use crate::reconcile::{Gateway, Nudge, Options, Service};

/// How often files of certificates are looked at.
const CERTIFICATES: Duration = Duration::from_secs(30);
/// How often our own certificate is looked at.
const OWN_CERTIFICATE: Duration = Duration::from_secs(600);
/// How long the result of a task may take that its agent came back without.
const RESULT_GRACE: Duration = Duration::from_secs(30);

/// Starts the jobs of `core`, which end when `working` is cancelled. What comes back is nudged when a stream takes tasks.
pub(super) fn start(
    core: &Core,
    auditor: Auditor,
    tracker: &TaskTracker,
    working: &CancellationToken,
) -> Result<Nudge, Error> {
    let gateway: Arc<dyn Gateway> = Arc::new(Reach(core.live.clone()));
    let reconcilers =
        Service::new(&core.store, &gateway, core.epoch, options(&core.config)).map_err(Error::Backup)?;
    let opened = reconcilers.dispatcher();
    tracker.spawn(reconcile(reconcilers, working.clone()));
    tracker.spawn(auditor.run(working.clone()));
    tracker.spawn(core.revocations.clone().follow(working.clone()));
    let announcer = Announcer::new(core.store.clone(), core.clock.clone(), core.live.clone());
    tracker.spawn(announcer.run(working.clone()));
    tracker.spawn(write_down_who_lives(core.clone(), working.clone()));
    if core.config.metrics.is_some() {
        tracker.spawn(state::derive(core.clone(), working.clone()));
    }
    if let Some(file) = &core.config.inventory.file {
        tracker.spawn(inventory::follow(
            core.store.clone(),
            file.clone(),
            core.inventory.clone(),
            working.clone(),
        ));
    }
    until(working, tracker, core.tls.clone().follow(CERTIFICATES));
    if let Some(authority) = core.authority.clone() {
        let keeper = Keeper::new(authority, core.tls.clone(), core.clock.clone());
        until(working, tracker, keeper.run(OWN_CERTIFICATE));
    }
    Ok(opened)
}

fn options(config: &Config) -> Options {
    Options {
        caps: Caps {
            tasks: config.limits.tasks,
            per_host: config.limits.per_host,
            per_label: config.limits.per_label.clone(),
        },
        grace: RESULT_GRACE,
        keep: Keep {
            runs: config.history.runs.0,
            audit: config.history.audit.0,
        },
        backup: config.backup.as_ref().map(crate::config::Backup::options),
    }
}

async fn reconcile(reconcilers: Service, working: CancellationToken) {
    if let Err(error) = reconcilers.run(working).await {
        let error = dr_terminal::in_one_line(&error);
        // Readiness and the watchdog miss them.
        tracing::error!(%error, "the reconcilers did not start");
    }
}

/// A job that never ends by itself.
fn until(working: &CancellationToken, tracker: &TaskTracker, job: impl Future<Output = ()> + Send + 'static) {
    let working = working.clone();
    tracker.spawn(async move {
        tokio::select! {
            () = working.cancelled() => {}
            () = job => {}
        }
    });
}

/// Writes down every now and then when agents were last heard of, all in one transaction.
async fn write_down_who_lives(core: Core, working: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(30);
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            () = working.cancelled() => true,
            _ = tick.tick() => false,
        };
        let heard: Vec<_> = core
            .live
            .all()
            .into_iter()
            .map(|(host, facts)| (host, facts.heard))
            .collect();
        if let Err(error) = core.store.hosts().seen(&heard).await {
            let error = dr_terminal::in_one_line(&error);
            tracing::warn!(%error, "it was not written down when agents were last heard of");
        }
        if last {
            return;
        }
    }
}
