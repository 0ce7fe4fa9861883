//! What was refused: counted at once, written into the audit log without letting a flood fill it.
//!
//! # Overview
//! The first refusal of a kind (who, what, why) is written at once. Further ones within a minute are counted and
//! written as one entry when the minute is over. So a refused call is always found in the log, and a client that
//! tries a thousand times a second makes two entries a minute.
//!
//! # Crash consistency
//! Repeats of the last minute are lost with the process; the first of them is in the log.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dr_proto::tls;
use dr_store::Store;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Refusals that may wait to be written.
const QUEUE: usize = 256;
/// How long repeats are gathered.
const MINUTE: Duration = Duration::from_secs(60);
/// Kinds of refusals that are told apart; what comes beyond is gathered under one.
const MOST_KINDS: usize = 1_024;

/// Why something was refused. The words are labels of `dr_auth_refusals_total` and codes for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No client certificate.
    NoCertificate,
    /// A role that may not.
    Role,
    /// A certificate or host that was revoked.
    Revoked,
    /// A certificate of another fleet.
    OtherDomain,
    /// A method that stands in no row of the table.
    UnknownMethod,
    /// An agent that speaks for another host.
    WrongHost,
    /// A token that lets nobody in, or not this host.
    Token,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoCertificate,
        Self::Role,
        Self::Revoked,
        Self::OtherDomain,
        Self::UnknownMethod,
        Self::WrongHost,
        Self::Token,
    ];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Role => "role",
            Self::Revoked => "revoked",
            Self::OtherDomain => "other_domain",
            Self::UnknownMethod => "unknown_method",
            Self::WrongHost => "wrong_host",
            Self::Token => "token",
        }
    }
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Why: a stable word.
    pub reason: &'static str,
    /// Who: an identity, else an address.
    pub actor: String,
    /// What: a method's path, a host.
    pub subject: String,
}

/// Where refusals are told. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Refusals {
    metrics: Metrics,
    sender: mpsc::Sender<Refusal>,
    overflow: Arc<AtomicU64>,
}

/// Writes refusals into the audit log.
#[derive(Debug)]
pub struct Auditor {
    store: Store,
    receiver: mpsc::Receiver<Refusal>,
    overflow: Arc<AtomicU64>,
    kinds: HashMap<Refusal, Seen>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    repeats: u64,
}

impl Refusals {
    /// The two ends.
    pub fn new(store: Store, metrics: Metrics) -> (Self, Auditor) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let overflow = Arc::new(AtomicU64::new(0));
        let auditor = Auditor {
            store,
            receiver,
            overflow: overflow.clone(),
            kinds: HashMap::new(),
        };
        (
            Self {
                metrics,
                sender,
                overflow,
            },
            auditor,
        )
    }

    /// Counts a refusal and has it written. Never waits.
    pub fn record(&self, refusal: Refusal) {
        self.metrics.refused(refusal.reason);
        tracing::warn!(
            reason = refusal.reason,
            actor = refusal.actor,
            subject = refusal.subject,
            "refused"
        );
        if self.sender.try_send(refusal).is_err() {
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connections that were refused before they became calls.
impl tls::Refusals for Refusals {
    fn refused(&self, address: SocketAddr, refusal: &tls::Refusal) {
        self.record(Refusal {
            reason: refusal.reason(),
            actor: address.ip().to_string(),
            subject: "handshake".to_owned(),
        });
    }
}

impl Auditor {
    /// Writes until cancelled; then what is gathered, once.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(MINUTE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = tick.tick() => self.write_repeats(false).await,
                refusal = self.receiver.recv() => match refusal {
                    Some(refusal) => self.take(refusal).await,
                    None => break,
                },
            }
        }
        while let Ok(refusal) = self.receiver.try_recv() {
            self.take(refusal).await;
        }
        self.write_repeats(true).await;
    }

    async fn take(&mut self, refusal: Refusal) {
        if let Some(seen) = self.kinds.get_mut(&refusal) {
            seen.repeats += 1;
            return;
        }
        let full = self.kinds.len() >= MOST_KINDS;
        let kind = if full {
            others(refusal.reason)
        } else {
            refusal.clone()
        };
        let seen = self.kinds.entry(kind).or_insert(Seen {
            since: Instant::now(),
            repeats: 0,
        });
        if full {
            seen.repeats += 1;
        } else {
            self.write(refusal.reason, &refusal.actor, &refusal.subject, 1)
                .await;
        }
    }

    /// Writes what was gathered of kinds that are a minute old, and forgets them.
    async fn write_repeats(&mut self, all: bool) {
        let lost = self.overflow.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.write("several", "several", "several", lost).await;
        }
        let old: Vec<Refusal> = self
            .kinds
            .iter()
            .filter(|(_, seen)| all || seen.since.elapsed() >= MINUTE)
            .map(|(kind, _)| kind.clone())
            .collect();
        for kind in old {
            if let Some(seen) = self.kinds.remove(&kind).filter(|seen| seen.repeats > 0) {
                self.write(kind.reason, &kind.actor, &kind.subject, seen.repeats)
                    .await;
            }
        }
    }

    async fn write(&self, reason: &str, actor: &str, subject: &str, times: u64) {
        let details = serde_json::json!({ "reason": reason, "times": times });
        if let Err(error) = self
            .store
            .audit()
            .append(actor, "call.refused", subject, &details)
            .await
        {
            let error = dr_terminal::in_one_line(&error);
            tracing::error!(%error, actor, subject, "a refusal is not in the audit log");
        }
    }
}

/// What is no longer told apart.
fn others(reason: &'static str) -> Refusal {
    Refusal {
        reason,
        actor: "several".to_owned(),
        subject: "several".to_owned(),
    }
}
