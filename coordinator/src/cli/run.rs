//! `dr-coordinator run`.

use std::net::SocketAddr;
use std::sync::Arc;

use dr_proto::model::exit::Code;
use dr_store::SystemClock;
use dr_terminal::Ui;
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Doing, Outcome};
use crate::serve::Coordinator;

/// What is said on stdout once it serves: where, for whoever gave it port 0.
#[derive(Serialize)]
struct Up {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    epoch: u64,
}

pub(super) async fn run(ui: &Ui, config: Config) -> Outcome {
    let stop = CancellationToken::new();
    listen_for_signals(&stop).doing(|| "listen for signals".to_owned())?;
    let coordinator = Coordinator::open(config, Arc::new(SystemClock)).await?;
    let up = Up {
        address: coordinator.address(),
        metrics: coordinator.metrics_address(),
        epoch: coordinator.epoch(),
    };
    ui.data(&serde_json::to_string(&up)?)?;
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
