//! What was revoked: known to the guard at every call, and told to streams that are open.
//!
//! # Consistency
//! The store is the truth; this is a copy of it in memory, read again on word of a change and every half minute, so
//! that a revocation by another process counts too.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dr_proto::model::{Goodbye, GoodbyeReason};
use dr_proto::tls::Certificate;
use dr_store::certificates::Revocations as Revoked;
use dr_store::{Change, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::gateway::Live;

/// How often the store is read even without word of a change.
const EVERY: Duration = Duration::from_secs(30);

/// What was revoked, as the store had it last. Clones share it.
#[derive(Debug, Clone)]
pub struct Revocations {
    store: Store,
    live: Live,
    revoked: Arc<RwLock<Arc<Revoked>>>,
}

impl Revocations {
    /// Reads them for the first time: nobody is let in before they are known.
    pub async fn open(store: Store, live: Live) -> Result<Self, dr_store::Error> {
        let revoked = store.certificates().revocations().await?;
        Ok(Self {
            store,
            live,
            revoked: Arc::new(RwLock::new(Arc::new(revoked))),
        })
    }

    fn current(&self) -> Arc<Revoked> {
        self.revoked
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a certificate is refused.
    pub fn refuse(&self, certificate: &Certificate) -> bool {
        self.current()
            .refuses(certificate.serial.as_str(), certificate.identity.host())
    }

    /// Reads the store again and ends streams that are refused now; how many those were.
    pub async fn reload(&self) -> Result<u32, dr_store::Error> {
        let revoked = Arc::new(self.store.certificates().revocations().await?);
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = revoked.clone();
        let mut ended = 0;
        for (host, facts) in self.live.all() {
            if revoked.refuses(&facts.serial, Some(&host)) {
                let goodbye = Goodbye {
                    reason: GoodbyeReason::Revoked,
                    message: "the certificate was revoked, or the host retired".to_owned(),
                };
                ended += u32::from(self.live.end(&host, goodbye));
            }
        }
        Ok(ended)
    }

    /// Keeps up with the store until cancelled.
    pub async fn follow(self, cancel: CancellationToken) {
        let mut changes = self.store.changes();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
                change = changes.recv() => match change {
                    Ok(Change::Revocations) | Err(RecvError::Lagged(_)) => {}
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                },
            }
            match self.reload().await {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "ended streams of revoked certificates"),
                Err(error) => {
                    let error = dr_terminal::in_one_line(&error);
                    tracing::error!(%error, "revocations could not be read; those known before stay in force");
                }
            }
        }
    }
}
