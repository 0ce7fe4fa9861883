//! The desk's state behind its lock: the journal, and what only this process knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dr_proto::model::{
    CancelTask, Labels, PlanText, Slot, StartTask, Suspension, TaskKey, TaskOutcome, TaskResult, TaskState,
};
use jiff::{SignedDuration, Timestamp};

use super::super::journal::{self, Accepted, Answer, Journal, Memory, Record};
use super::{MOST_QUEUED, OFFLINE_EPOCH};

/// The journal notes no oftener than this that a coordinator answers.
const CONTACT_EVERY: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug)]
pub(super) struct Book {
    journal: Journal,
    queue: VecDeque<TaskKey>,
    /// Tasks that were handed out for a slot which is being done offline: answered with it.
    followers: BTreeMap<TaskKey, StartTask>,
    /// Results that the journal could not take.
    unwritten: BTreeMap<TaskKey, TaskResult>,
    /// Results that the coordinator has and asked for again.
    again: BTreeSet<TaskKey>,
}

impl Book {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            journal,
            queue: VecDeque::new(),
            followers: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            again: BTreeSet::new(),
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        self.journal.memory()
    }

    /// At the start: what was taken on and has no answer was in the middle when the process ended.
    pub(super) fn interrupt_open(&mut self, now: Timestamp) -> Result<(), journal::Error> {
        let open: Vec<Accepted> = self.memory().open().cloned().collect();
        for Accepted { task, at } in open {
            tracing::warn!(task = %task.key.task, work = %task.work, "the agent ended in the middle of this task: it is answered as interrupted");
            let outcome = TaskOutcome {
                state: TaskState::Inconclusive,
                cause: "interrupted".to_owned(),
                message: "the agent ended in the middle of it and was started again".to_owned(),
                started: at,
                finished: now,
                document: Vec::new(),
            };
            self.journal.finish(result(task, outcome))?;
        }
        Ok(())
    }

    pub(super) fn start(&mut self, task: StartTask, now: Timestamp) {
        let key = task.key;
        if self.memory().opened(&key).is_some() || self.unwritten.contains_key(&key) {
            return;
        }
        if self.memory().has_ended(&key) {
            return self.ask_again(task, now);
        }
        if key.fence.epoch != OFFLINE_EPOCH
            && let Some(slot) = &task.slot
            && let Some(stands) = self.offline(slot)
        {
            return self.follow(task, stands, now);
        }
        if self.queue.len() >= MOST_QUEUED {
            let outcome = ended_at(
                now,
                TaskState::Inconclusive,
                "busy",
                "too many tasks wait on this host",
            );
            return self.answer(task, outcome);
        }
        let accepted = Record::Accepted {
            task: Box::new(task.clone()),
            at: now,
        };
        match self.journal.record(accepted) {
            Ok(()) => self.queue.push_back(key),
            Err(error) => {
                let why = format!(
                    "the agent can not write down that it takes the task on: {}",
                    crate::error::in_one_line(&error)
                );
                tracing::error!(task = %key.task, reason = %why, "a task is not taken on");
                let outcome = ended_at(now, TaskState::Inconclusive, "journal", &why);
                self.unwritten.insert(key, result(task, outcome));
            }
        }
    }

    /// A task that ended is asked for again: its result is, or what is left of it.
    fn ask_again(&mut self, task: StartTask, now: Timestamp) {
        let key = task.key;
        if self.memory().answer(&key).is_some() {
            return self.tell_again(key);
        }
        let why = "it was done before, and its result was acknowledged so long ago that it is forgotten here";
        let outcome = ended_at(now, TaskState::Inconclusive, "forgotten", why);
        self.unwritten.insert(key, result(task, outcome));
    }

    /// A result that is known is sent once more: one that is owed is sent anyway.
    fn tell_again(&mut self, key: TaskKey) {
        let mut owed = self.memory().owed().iter();
        if !owed.any(|answer| answer.result.key == key) {
            self.again.insert(key);
        }
    }

    /// The task that did a slot, or does it, while no coordinator answered; unless the coordinator has its result:
    /// then whoever asks for the slot again wants it again.
    fn offline(&self, slot: &Slot) -> Option<Stands> {
        let own = |key: &TaskKey, of: Option<&Slot>| key.fence.epoch == OFFLINE_EPOCH && of == Some(slot);
        let mut open = self.memory().open();
        if open.any(|open| own(&open.task.key, open.task.slot.as_ref())) {
            return Some(Stands::Open);
        }
        let mut owed = self.memory().owed().iter();
        owed.find(|answer| own(&answer.result.key, answer.result.slot.as_ref()))
            .map(|answer| Stands::Ended(Box::new(answer.clone())))
    }

    fn follow(&mut self, task: StartTask, stands: Stands, now: Timestamp) {
        match stands {
            Stands::Ended(answer) => {
                let outcome = answer.result.outcome.clone();
                let answer = Answer {
                    result: result(task, outcome),
                    document: answer.document.clone(),
                };
                self.keep(answer);
            }
            Stands::Open => {
                let accepted = Record::Accepted {
                    task: Box::new(task.clone()),
                    at: now,
                };
                if let Err(error) = self.journal.record(accepted) {
                    // It is answered all the same when the slot's own task ends, unless the agent dies before.
                    tracing::warn!(error = %crate::error::in_one_line(&error), "a task is not written down");
                }
                self.followers.insert(task.key, task);
            }
        }
    }

    fn keep(&mut self, answer: Answer) {
        let result = answer.result.clone();
        if let Err(error) = self.journal.record(Record::Finished(Box::new(answer))) {
            self.unwritable(result, &error);
        }
    }

    pub(super) fn answer(&mut self, task: StartTask, outcome: TaskOutcome) {
        let (key, slot) = (task.key, task.slot.clone());
        let result = result(task, outcome);
        if let Err(error) = self.journal.finish(result.clone()) {
            self.unwritable(result, &error);
        }
        if key.fence.epoch == OFFLINE_EPOCH {
            self.answer_followers(key, slot.as_ref());
        }
    }

    /// Tasks of the same slot get the result of the one that was at it.
    fn answer_followers(&mut self, key: TaskKey, slot: Option<&Slot>) {
        let followers: Vec<StartTask> = self
            .followers
            .values()
            .filter(|task| task.slot.as_ref() == slot)
            .cloned()
            .collect();
        for task in followers {
            self.followers.remove(&task.key);
            let answer = match (self.memory().answer(&key), self.unwritten.get(&key)) {
                (Some(answer), _) => answer.clone(),
                (None, Some(unwritten)) => Answer {
                    result: unwritten.clone(),
                    document: None,
                },
                (None, None) => continue,
            };
            let outcome = answer.result.outcome;
            self.keep(Answer {
                result: result(task, outcome),
                document: answer.document,
            });
        }
    }

    fn unwritable(&mut self, result: TaskResult, error: &journal::Error) {
        tracing::error!(
            task = %result.key.task, error = %crate::error::in_one_line(error),
            "a result can not be written down: it is sent, and lost if the agent ends before it is acknowledged"
        );
        self.unwritten.insert(result.key, result);
    }

    pub(super) fn cancel(&mut self, cancel: &CancelTask, now: Timestamp) {
        let key = cancel.key;
        let task = match (self.memory().opened(&key), self.memory().answer(&key)) {
            (Some(open), _) => open.task.clone(),
            (None, Some(_)) => return self.tell_again(key),
            (None, None) => {
                tracing::debug!(task = %key.task, fence = %key.fence, "a task that is not known here was cancelled");
                return;
            }
        };
        self.queue.retain(|queued| *queued != key);
        self.followers.remove(&key);
        let outcome = ended_at(now, TaskState::Cancelled, "cancelled", &cancel.reason);
        self.answer(task, outcome);
    }

    pub(super) fn acknowledge(&mut self, key: TaskKey) -> Result<(), journal::Error> {
        self.again.remove(&key);
        if let Some(result) = self.unwritten.remove(&key)
            && self.memory().opened(&key).is_some()
        {
            // Perhaps there is space again; if not, the next start answers it once more, which changes nothing.
            self.journal.finish(result)?;
        }
        let owed = self.memory().owed().iter();
        if owed.into_iter().any(|answer| answer.result.key == key) {
            self.journal.record(Record::Acknowledged { key })?;
        }
        Ok(())
    }

    pub(super) fn set_plans(&mut self, plans: Vec<PlanText>) -> Result<(), journal::Error> {
        if self.memory().plans() == plans {
            return Ok(());
        }
        self.journal.record(Record::Plans { plans })
    }

    pub(super) fn set_labels(&mut self, labels: Labels) -> Result<(), journal::Error> {
        if *self.memory().labels() == labels {
            return Ok(());
        }
        self.journal.record(Record::Labels { labels })
    }

    pub(super) fn set_suspension(&mut self, suspension: Suspension) -> Result<(), journal::Error> {
        if *self.memory().suspension() == suspension {
            return Ok(());
        }
        self.journal.record(Record::Suspension(suspension))
    }

    pub(super) fn contact(&mut self, at: Timestamp) -> Result<(), journal::Error> {
        let recent = |last: Timestamp| at.duration_since(last) < CONTACT_EVERY;
        if self.memory().contact().is_some_and(recent) {
            return Ok(());
        }
        self.journal.record(Record::Contact { at })
    }

    pub(super) fn next(&mut self) -> Option<Accepted> {
        while let Some(key) = self.queue.pop_front() {
            if let Some(accepted) = self.memory().opened(&key) {
                return Some(accepted.clone());
            }
        }
        None
    }

    pub(super) fn open_keys(&self) -> Vec<TaskKey> {
        let open = self.memory().open().map(|open| open.task.key);
        open.filter(|key| !self.unwritten.contains_key(key)).collect()
    }

    pub(super) fn owed(&self) -> Vec<TaskKey> {
        let written = self.memory().owed().iter().map(|answer| answer.result.key);
        let others = self.unwritten.keys().chain(&self.again).copied();
        written.chain(others).collect()
    }

    pub(super) fn result(&self, key: TaskKey) -> Option<TaskResult> {
        if let Some(unwritten) = self.unwritten.get(&key) {
            return Some(unwritten.clone());
        }
        let answer = self.memory().answer(&key)?;
        match self.journal.complete(answer) {
            Ok(result) => Some(result),
            Err(error) => {
                let why = crate::error::in_one_line(&error);
                tracing::error!(task = %key.task, error = %why, "a result is sent without its document");
                let mut result = answer.result.clone();
                let said = &mut result.outcome.message;
                let separator = if said.is_empty() { "" } else { "; " };
                *said = format!("{said}{separator}its document is lost: {why}");
                Some(result)
            }
        }
    }
}

/// How the task of a slot stands that the agent began by itself.
enum Stands {
    Open,
    Ended(Box<Answer>),
}

fn result(task: StartTask, outcome: TaskOutcome) -> TaskResult {
    TaskResult {
        key: task.key,
        outcome,
        work: task.work,
        slot: task.slot,
    }
}

fn ended_at(now: Timestamp, state: TaskState, cause: &str, message: &str) -> TaskOutcome {
    TaskOutcome {
        state,
        cause: cause.to_owned(),
        message: message.to_owned(),
        started: now,
        finished: now,
        document: Vec::new(),
    }
}
