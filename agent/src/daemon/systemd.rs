//! Tells systemd where the daemon stands: READY, STOPPING, WATCHDOG. Without systemd nobody listens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The daemon is at work.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the daemon lives, twice as often as systemd wants to hear it, until cancelled. It is a task of the same
/// runtime as everything else: a runtime that is stuck falls silent.
pub(super) async fn watchdog(cancel: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let every = (limit / 2).max(Duration::from_millis(100));
    let mut tick = tokio::time::interval(every);
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told where the daemon stands");
    }
}
