//! The streams that are open at this moment, one an agent, and what is known only while they are.
//!
//! # Overview
//! An agent that attaches gets an entry here with a bounded queue. Whoever has something for a host puts it into that
//! queue; an agent that does not empty it is disconnected, because the coordinator waits for nobody. What a stream
//! says of itself between results (heartbeats, progress, clock) is kept here and nowhere else: it is worth nothing
//! once the stream is gone.
//!
//! # Consistency
//! The newest stream of an identity wins: the older one ends with `Goodbye replaced`. An entry is known by a number,
//! so that the end of an old stream never takes the newer one with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use dr_proto::model::{
    CoordinatorMessage, Goodbye, GoodbyeReason, Heartbeat, HostName, Progress, TaskId, TaskKey, TaskUpdate,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How many messages may wait for one agent. Tasks on one host are few; plans and suspensions replace each other.
const QUEUE: usize = 64;

/// How many tasks an agent may report progress of: more than any cap lets run on one host.
const MOST_TASKS: usize = 256;

/// The open streams. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<Streams>>);

#[derive(Debug, Default)]
struct Streams {
    last_number: u64,
    hosts: HashMap<HostName, Entry>,
    duplicates: HashMap<HostName, Duplicate>,
    turned_away: HashMap<HostName, TurnedAway>,
}

/// An agent whose version is too far from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnedAway {
    /// When it came last.
    pub at: Timestamp,
    /// The minor version of the protocol that it speaks.
    pub protocol: u32,
}

/// Two processes that came with the certificate of one host, at nearly the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// When the second one came.
    pub at: Timestamp,
    /// The process that was there.
    pub older: String,
    /// The process that took over.
    pub newer: String,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    sender: mpsc::Sender<CoordinatorMessage>,
    ending: Ending,
    /// The store has been brought in line with what the agent has: messages may be queued.
    open: bool,
    facts: Facts,
    progress: HashMap<TaskId, (TaskKey, Progress)>,
}

impl Entry {
    fn is_usable(&self) -> bool {
        self.open && !self.ending.is_ended()
    }
}

/// What one stream tells of its agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Random, new with each start of the agent's process.
    pub incarnation: String,
    /// Serial number of the certificate that it came with, hex.
    pub serial: String,
    /// Since when it is open.
    pub since: Timestamp,
    /// When it was last heard of.
    pub heard: Timestamp,
    /// The agent's clock minus ours, when it was last heard of.
    pub skew: SignedDuration,
    /// Why nothing starts on the host, if its own suspend file says so.
    pub suspended: Option<String>,
    /// Age of the oldest pin that it holds.
    pub oldest_pin: Option<Duration>,
    /// Bytes in its scratch.
    pub scratch_bytes: u64,
    /// Told that a newer stream took over, it says farewell if it lives.
    pub says_farewell: bool,
}

/// How a stream is told to end: with a goodbye, once.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    token: CancellationToken,
    goodbye: Arc<OnceLock<Goodbye>>,
}

impl Ending {
    /// Ends the stream; the first goodbye stays.
    pub(super) fn end(&self, goodbye: Goodbye) {
        self.goodbye.get_or_init(|| goodbye);
        self.token.cancel();
    }

    /// Waits until the stream is to end.
    pub(super) async fn ended(&self) -> Goodbye {
        self.token.cancelled().await;
        self.goodbye.get().cloned().unwrap_or_else(|| Goodbye {
            reason: GoodbyeReason::Shutdown,
            message: "the stream ended".to_owned(),
        })
    }

    /// Whether somebody ended it.
    pub(super) fn is_ended(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// A stream's own end of its entry. Dropped, it takes the entry away if that is still its own.
#[derive(Debug)]
pub(super) struct Attached {
    live: Live,
    host: HostName,
    number: u64,
    /// What is to be sent.
    pub(super) queue: Option<mpsc::Receiver<CoordinatorMessage>>,
    /// Told when the stream is to end.
    pub(super) ending: Ending,
    /// The stream that it took over from, if that one was still open.
    pub(super) replaced: Option<Facts>,
}

impl Attached {
    /// Whether this is still the host's stream.
    pub(super) fn is_current(&self) -> bool {
        self.live
            .lock()
            .hosts
            .get(&self.host)
            .is_some_and(|entry| entry.number == self.number)
    }

    /// Lets messages for the host be queued from now on.
    pub(super) fn open(&self) {
        self.live.with(&self.host, self.number, |entry| entry.open = true);
    }

    /// Notes that the agent was heard of.
    pub(super) fn heard(&self, now: Timestamp) {
        self.live
            .with(&self.host, self.number, |entry| entry.facts.heard = now);
    }

    /// Notes what a heartbeat says.
    pub(super) fn beat(&self, now: Timestamp, heartbeat: &Heartbeat) {
        self.live.with(&self.host, self.number, |entry| {
            let facts = &mut entry.facts;
            facts.heard = now;
            facts.skew = heartbeat.clock.duration_since(now);
            facts.suspended.clone_from(&heartbeat.suspended);
            facts.oldest_pin = heartbeat.oldest_pin;
            facts.scratch_bytes = heartbeat.scratch_bytes;
        });
    }

    /// Whether progress of this attempt came before.
    pub(super) fn knows(&self, key: TaskKey) -> bool {
        let streams = self.live.lock();
        let entry = streams
            .hosts
            .get(&self.host)
            .filter(|entry| entry.number == self.number);
        entry.is_some_and(|entry| {
            entry
                .progress
                .get(&key.task)
                .is_some_and(|(known, _)| *known == key)
        })
    }

    /// Notes how far a task is.
    pub(super) fn progressed(&self, update: TaskUpdate) {
        self.live.with(&self.host, self.number, |entry| {
            let known = entry.progress.contains_key(&update.key.task);
            if known || entry.progress.len() < MOST_TASKS {
                entry
                    .progress
                    .insert(update.key.task, (update.key, update.progress));
            }
        });
    }

    /// Forgets the progress of a task that ended.
    pub(super) fn finished(&self, task: TaskId) {
        self.live.with(&self.host, self.number, |entry| {
            entry.progress.remove(&task);
        });
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut streams = self.live.lock();
        if streams
            .hosts
            .get(&self.host)
            .is_some_and(|entry| entry.number == self.number)
        {
            streams.hosts.remove(&self.host);
        }
    }
}

/// Why a message did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The host has no stream.
    #[error("the agent is not connected")]
    Away,
    /// The agent did not empty its queue and was disconnected.
    #[error("the agent does not read what it is sent; its stream was ended")]
    Slow,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Entries are changed in single steps: a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, host: &HostName, number: u64, change: impl FnOnce(&mut Entry)) {
        let mut streams = self.lock();
        if let Some(entry) = streams.hosts.get_mut(host).filter(|entry| entry.number == number) {
            change(entry);
        }
    }

    /// Enters a stream and ends the one that the host had.
    pub(super) fn attach(&self, host: HostName, facts: Facts) -> Attached {
        let (sender, queue) = mpsc::channel(QUEUE);
        let ending = Ending::default();
        let mut streams = self.lock();
        streams.last_number += 1;
        let number = streams.last_number;
        let entry = Entry {
            number,
            sender,
            ending: ending.clone(),
            open: false,
            facts,
            progress: HashMap::new(),
        };
        let replaced = streams.hosts.insert(host.clone(), entry).map(|old| {
            old.ending.end(Goodbye {
                reason: GoodbyeReason::Replaced,
                message: "a newer stream of the same identity took over".to_owned(),
            });
            old.facts
        });
        drop(streams);
        Attached {
            live: self.clone(),
            host,
            number,
            queue: Some(queue),
            ending,
            replaced,
        }
    }

    /// Puts a message into a host's queue. A full queue ends the stream: its agent comes back and says what it has.
    pub fn send(&self, host: &HostName, message: CoordinatorMessage) -> Result<(), SendError> {
        let streams = self.lock();
        let entry = streams.hosts.get(host).ok_or(SendError::Away)?;
        if !entry.is_usable() {
            return Err(SendError::Away);
        }
        match entry.sender.try_send(message) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Away),
            Err(mpsc::error::TrySendError::Full(_)) => {
                entry.ending.end(Goodbye {
                    reason: GoodbyeReason::Shutdown,
                    message: format!("{QUEUE} messages wait that the agent does not read; attach again"),
                });
                Err(SendError::Slow)
            }
        }
    }

    /// Ends a host's stream, if it has one.
    pub fn end(&self, host: &HostName, goodbye: Goodbye) -> bool {
        let streams = self.lock();
        let entry = streams.hosts.get(host);
        if let Some(entry) = entry {
            entry.ending.end(goodbye);
        }
        entry.is_some()
    }

    /// Ends every stream.
    pub fn end_all(&self, goodbye: &Goodbye) {
        for entry in self.lock().hosts.values() {
            entry.ending.end(goodbye.clone());
        }
    }

    /// Whether a host has a stream that takes messages.
    pub fn is_connected(&self, host: &HostName) -> bool {
        self.lock().hosts.get(host).is_some_and(Entry::is_usable)
    }

    /// Hosts whose streams take messages, each with its stream's number: another number is another stream.
    pub(super) fn usable(&self) -> Vec<(HostName, u64)> {
        let streams = self.lock();
        let usable = streams.hosts.iter().filter(|(_, entry)| entry.is_usable());
        usable.map(|(host, entry)| (host.clone(), entry.number)).collect()
    }

    /// Notes that an agent's version is too far from ours.
    pub(super) fn note_turned_away(&self, host: &HostName, turned_away: TurnedAway) {
        // Only who has a certificate gets here: the fleet bounds it.
        self.lock().turned_away.insert(host.clone(), turned_away);
    }

    /// Hosts whose agents were turned away since `since` and have no stream.
    pub fn turned_away(&self, since: Timestamp) -> Vec<(HostName, TurnedAway)> {
        let streams = self.lock();
        let fresh = streams
            .turned_away
            .iter()
            .filter(|(host, turned_away)| turned_away.at >= since && !streams.hosts.contains_key(*host));
        fresh
            .map(|(host, turned_away)| (host.clone(), *turned_away))
            .collect()
    }

    /// Notes that two processes came with one host's certificate.
    pub(super) fn note_duplicate(&self, host: &HostName, duplicate: Duplicate) {
        let mut streams = self.lock();
        // Every host that ever attached can stand here once: the fleet bounds it.
        streams.duplicates.insert(host.clone(), duplicate);
    }

    /// Hosts whose certificate two processes came with since `since`.
    pub fn duplicates(&self, since: Timestamp) -> Vec<(HostName, Duplicate)> {
        let streams = self.lock();
        let fresh = streams
            .duplicates
            .iter()
            .filter(|(_, duplicate)| duplicate.at >= since);
        fresh
            .map(|(host, duplicate)| (host.clone(), duplicate.clone()))
            .collect()
    }

    /// All hosts with a stream, and what their streams tell.
    pub fn all(&self) -> HashMap<HostName, Facts> {
        let streams = self.lock();
        streams
            .hosts
            .iter()
            .map(|(host, entry)| (host.clone(), entry.facts.clone()))
            .collect()
    }

    /// What a host's stream tells.
    pub fn facts(&self, host: &HostName) -> Option<Facts> {
        self.lock().hosts.get(host).map(|entry| entry.facts.clone())
    }

    /// How many streams are open.
    pub fn count(&self) -> usize {
        self.lock().hosts.len()
    }

    /// How far a task is, as its host last said.
    pub fn progress(&self, host: &HostName, task: TaskId) -> Option<Progress> {
        let streams = self.lock();
        streams
            .hosts
            .get(host)?
            .progress
            .get(&task)
            .map(|(_, progress)| progress.clone())
    }
}

#[cfg(test)]
#[path = "live/tests.rs"]
mod tests;
