//! Why and how running work ends early: signals, the suspend file, a busy host.
//!
//! ## Cancellation
//! The first SIGINT or SIGTERM, or a suspend file that appears, cancels one token that all work watches; what runs
//! stops at its next safe point and cleans up. A second signal ends the process at once; what is then left over is
//! swept at the next start.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Code;

/// How often the suspend file is looked for while work runs.
const SUSPEND_POLL: Duration = Duration::from_secs(2);

/// Why work was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The suspend file appeared.
    Suspended,
    /// The host's own hook said twice that it is busy.
    HostBusy,
}

impl Reason {
    /// The exit code that says so.
    pub fn code(self) -> Code {
        match self {
            Self::Interrupted => Code::Interrupted,
            Self::Terminated => Code::Terminated,
            Self::Suspended => Code::Busy,
            Self::HostBusy => Code::Inconclusive,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [
            Self::Interrupted,
            Self::Terminated,
            Self::Suspended,
            Self::HostBusy,
        ]
        .into_iter()
        .find(|reason| *reason as u8 + 1 == number)
    }
}

/// The token that ends work, and why it was used.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<AtomicU8>,
}

impl Stop {
    /// Listens for signals from now on. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system refuses signal handlers.
    pub fn listen() -> std::io::Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let signalled = stop.clone();
        tokio::spawn(async move {
            loop {
                let reason = tokio::select! {
                    _ = interrupt.recv() => Reason::Interrupted,
                    _ = terminate.recv() => Reason::Terminated,
                };
                signalled.signal(reason);
            }
        });
        Ok(stop)
    }

    /// Also ends work when `file` appears: for commands that write. Must be called within a runtime.
    pub fn heed_suspend_file(&self, file: PathBuf) {
        tokio::spawn(self.clone().watch(file));
    }

    /// The token that work watches.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why work was asked to stop, if it was.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.reason.load(Ordering::SeqCst))
    }

    /// Asks work to stop; the first reason stays.
    pub fn request(&self, reason: Reason) {
        let _first = self
            .reason
            .compare_exchange(0, reason as u8 + 1, Ordering::SeqCst, Ordering::SeqCst);
        self.token.cancel();
    }

    /// A signal: the first asks, the second ends the process.
    fn signal(&self, reason: Reason) {
        if matches!(self.reason(), Some(Reason::Interrupted | Reason::Terminated)) {
            std::process::exit(i32::from(reason.code().number()));
        }
        self.request(reason);
    }

    async fn watch(self, path: PathBuf) {
        let mut tick = tokio::time::interval(SUSPEND_POLL);
        let mut blind = false;
        loop {
            tokio::select! {
                () = self.token.cancelled() => return,
                _ = tick.tick() => {}
            }
            match tokio::fs::try_exists(&path).await {
                Ok(true) => {
                    tracing::warn!(path = %path.display(), "the suspend file appeared: stopping at the next safe point");
                    self.request(Reason::Suspended);
                }
                Ok(false) => blind = false,
                Err(error) if !blind => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "the suspend file can not be looked for: it stops nothing");
                    blind = true;
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let stop = Stop::default();
        assert_eq!(stop.reason(), None);
        stop.request(Reason::Suspended);
        stop.request(Reason::Terminated);
        assert_eq!(stop.reason(), Some(Reason::Suspended));
        assert!(stop.token().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspend_file_ends_running_work() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("SUSPEND");
        let stop = Stop::listen().expect("listen");
        stop.heed_suspend_file(path.clone());
        std::fs::write(&path, b"").expect("write");
        stop.token().cancelled().await;
        assert_eq!(stop.reason(), Some(Reason::Suspended));
    }
}
