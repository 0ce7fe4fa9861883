//! The beginning of a stream: hello, who it is, what it has, welcome.
//!
//! # Consistency
//! The stream is entered into [`Live`](super::Live) before the store is asked whether the host may come in, and the
//! certificate is looked at once more afterwards: whatever is revoked meanwhile is seen by one of the two.

use dr_proto::model::{
    AgentMessage, CoordinatorMessage, Goodbye, GoodbyeReason, Hello, PROTOCOL, Welcome, capability, tolerates,
};
use dr_store::hosts::{Admitted, Arrival};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::super::live::{Attached, Duplicate, Facts, TurnedAway};
use super::{End, HELLO, Session, replaced, too_far};
use crate::access::refusals::{Reason, Refusal};
use crate::handle;
use crate::reconcile::hello;
use crate::service::status;

/// A stream that was let in.
pub(super) struct Greeted {
    pub(super) stream: Attached,
    pub(super) queue: mpsc::Receiver<CoordinatorMessage>,
}

impl Session {
    /// From the first message to the welcome.
    pub(super) async fn greet(&mut self) -> Result<Greeted, End> {
        let hello = self.hello().await?;
        self.own_host(&hello)?;
        if !tolerates(hello.protocol) {
            let turned_away = TurnedAway {
                at: self.desk.clock.now(),
                protocol: hello.protocol,
            };
            self.desk.live.note_turned_away(&self.host, turned_away);
            return Err(too_far(hello.protocol));
        }
        let mut stream = self.attach(&hello);
        self.incarnation.clone_from(&hello.incarnation);
        self.says_farewell = says_farewell(&hello);
        let admitted = self.admit(&hello).await?;
        if self.desk.revocations.refuse(&self.certificate) {
            return Err(revoked("the certificate was revoked"));
        }
        self.note_duplicate(&hello, &stream).await?;
        let mut known = hello::reconcile(&self.desk.store, self.desk.epoch, &hello)
            .await
            .map_err(store_failed)?;
        if replaced(&stream) {
            return Err(End::Told(stream.ending.ended().await));
        }
        if admitted.pending {
            // What the machine before it was asked is not asked of one that nobody has approved.
            known.retain(|message| !matches!(message, CoordinatorMessage::Start(_)));
        }
        self.welcome(admitted).await?;
        let Some(queue) = stream.queue.take() else {
            return Err(End::protocol("the stream was greeted twice"));
        };
        stream.open();
        for message in known {
            // Into the queue, so that order is kept with what reconcilers send from now on.
            if self.desk.live.send(&self.host, message).is_err() {
                return Err(End::Told(stream.ending.ended().await));
            }
        }
        self.desk.opened.nudge();
        tracing::info!(host = %self.host, version = hello.version, tasks = hello.tasks.len(), "an agent attached");
        Ok(Greeted { stream, queue })
    }

    async fn hello(&mut self) -> Result<Hello, End> {
        let first = timeout(HELLO, self.incoming.next())
            .await
            .map_err(|_| End::protocol(format!("no hello came within {} s", HELLO.as_secs())))?;
        match self.read(first)? {
            Some(AgentMessage::Hello(hello)) => Ok(*hello),
            _ => Err(End::protocol("the first message must be a hello")),
        }
    }

    /// An agent speaks for the host in its certificate and for no other.
    fn own_host(&self, hello: &Hello) -> Result<(), End> {
        if hello.host == self.host {
            return Ok(());
        }
        self.desk.refusals.record(Refusal {
            reason: Reason::WrongHost.word(),
            actor: self.certificate.identity.to_string(),
            subject: hello.host.to_string(),
        });
        let message = format!(
            "the certificate is that of host {}, and the hello says {}",
            self.host, hello.host
        );
        let hint = "set agent.host to the name in the certificate, or enrol this host by its own name";
        Err(End::Refused(Box::new(status::refused(
            Reason::WrongHost,
            &message,
            hint,
        ))))
    }

    fn attach(&self, hello: &Hello) -> Attached {
        let now = self.desk.clock.now();
        let facts = Facts {
            incarnation: hello.incarnation.clone(),
            serial: self.certificate.serial.to_string(),
            since: now,
            heard: now,
            skew: hello.clock.duration_since(now),
            suspended: hello.suspended.clone(),
            oldest_pin: None,
            scratch_bytes: 0,
            says_farewell: says_farewell(hello),
        };
        self.desk.live.attach(self.host.clone(), facts)
    }

    async fn admit(&self, hello: &Hello) -> Result<Admitted, End> {
        let serial = self.certificate.serial.to_string();
        let arrival = Arrival {
            hello,
            clock_skew: hello.clock.duration_since(self.desk.clock.now()),
            certificate_serial: &serial,
            certificate_expires: self.certificate.not_after,
        };
        match self.desk.store.hosts().admit(&arrival).await {
            Ok(admitted) => Ok(admitted),
            Err(error @ dr_store::Error::Barred { .. }) => {
                self.desk.refusals.record(Refusal {
                    reason: Reason::Revoked.word(),
                    actor: self.certificate.identity.to_string(),
                    subject: self.host.to_string(),
                });
                Err(revoked(&error.to_string()))
            }
            Err(error) => Err(store_failed(error)),
        }
    }

    /// Another process of the same identity that was heard of a moment ago may be one that lives: somebody copied a key,
    /// or cloned a machine. One that says farewell tells so by itself; of an older version it must be guessed by the
    /// time. (The same process that dials again, and one that took the place of a process long silent, are not.)
    async fn note_duplicate(&self, hello: &Hello, stream: &Attached) -> Result<(), End> {
        let Some(older) = stream
            .replaced
            .as_ref()
            .filter(|older| older.incarnation != hello.incarnation && !older.says_farewell)
        else {
            return Ok(());
        };
        let now = self.desk.clock.now();
        if now.duration_since(older.heard).unsigned_abs() > self.desk.heartbeat * 2 {
            return Ok(());
        }
        let duplicate = Duplicate {
            at: now,
            older: older.incarnation.clone(),
            newer: hello.incarnation.clone(),
        };
        self.report_duplicate(duplicate, &older.serial)
            .await
            .map_err(store_failed)
    }

    /// Says that two processes live that come with the certificate of one host.
    pub(super) async fn report_duplicate(
        &self,
        duplicate: Duplicate,
        older_serial: &str,
    ) -> Result<(), dr_store::Error> {
        tracing::warn!(host = %self.host, "two processes come with the certificate of one host");
        let details =
            json!({ "older": duplicate.older, "newer": duplicate.newer, "older_serial": older_serial });
        self.desk.live.note_duplicate(&self.host, duplicate);
        let actor = self.certificate.identity.to_string();
        let audit = self.desk.store.audit();
        audit
            .append(&actor, "agent.duplicate", self.host.as_str(), &details)
            .await
            .map(drop)
    }

    async fn welcome(&self, admitted: Admitted) -> Result<(), End> {
        let welcome = Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.desk.epoch,
            heartbeat: self.desk.heartbeat,
            clock: self.desk.clock.now(),
            labels: admitted.labels,
            wants_history: admitted.wants_history,
        };
        let message = CoordinatorMessage::Welcome(welcome).into();
        self.out.send(Ok(message)).await.map_err(|_| End::Closed)
    }
}

fn says_farewell(hello: &Hello) -> bool {
    hello.capabilities.iter().any(|name| name == capability::FAREWELL)
}

fn revoked(message: &str) -> End {
    End::Told(Goodbye {
        reason: GoodbyeReason::Revoked,
        message: message.to_owned(),
    })
}

/// The store is out: the agent comes back later and tells everything again.
pub(super) fn store_failed(error: dr_store::Error) -> End {
    End::Refused(Box::new(handle::Error::from(error).into()))
}
