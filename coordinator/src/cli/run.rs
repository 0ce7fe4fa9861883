//! `dr-coordinator run`.

use std::sync::Arc;

use dr_proto::model::exit::Code;
use dr_store::SystemClock;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Doing, Outcome};
use crate::serve::Coordinator;

pub(super) async fn run(config: Config) -> Outcome {
    let stop = CancellationToken::new();
    listen_for_signals(&stop).doing(|| "listen for signals".to_owned())?;
    let coordinator = Coordinator::open(config, Arc::new(SystemClock)).await?;
    tracing::info!(address = %coordinator.address(), epoch = coordinator.epoch(), "the coordinator serves");
    tell_systemd(&[NotifyState::Ready]);
    let ended = coordinator.run(stop).await;
    tell_systemd(&[NotifyState::Stopping]);
    ended?;
    Ok(Code::Done)
}

/// The first signal asks the coordinator to stop, the second ends the process. SIGTERM is how service managers stop
/// it, so that ending by it is no failure.
fn listen_for_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => Code::Interrupted,
                _ = terminate.recv() => Code::Terminated,
            };
            if stop.is_cancelled() {
                std::process::exit(i32::from(code.number()));
            }
            tracing::info!("asked to stop");
            stop.cancel();
        }
    });
    Ok(())
}

/// Without a service manager nobody listens, and that is fine.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
