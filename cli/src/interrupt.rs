//! Signals that end a command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use dr_proto::model::exit::Code;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether somebody wants the command to end, and how it ends then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    code: Arc<AtomicU8>,
}

impl Interrupt {
    /// Listens for signals from now on: the first asks, the second ends the process. Must be called in a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let mut keyboard = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let signalled = interrupt.clone();
        tokio::spawn(async move {
            loop {
                let code = tokio::select! {
                    _ = keyboard.recv() => Code::Interrupted,
                    _ = terminate.recv() => Code::Terminated,
                };
                if signalled.token.is_cancelled() {
                    std::process::exit(i32::from(code.number()));
                }
                signalled.code.store(code.number(), Ordering::SeqCst);
                signalled.token.cancel();
            }
        });
        Ok(interrupt)
    }

    /// Waits until somebody wants the command to end.
    pub(crate) async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// How the process ends, if somebody wants it to.
    pub(crate) fn code(&self) -> Option<Code> {
        let number = self.code.load(Ordering::SeqCst);
        [Code::Interrupted, Code::Terminated]
            .into_iter()
            .find(|code| code.number() == number)
    }
}
