//! What one line of the journal says, and what all lines together amount to.

use std::collections::{BTreeMap, VecDeque};

use dr_proto::model::{Labels, PlanText, Slot, StartTask, Suspension, TaskKey, TaskResult};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::documents::DocumentId;

/// How many results stay after they were acknowledged, for a coordinator that lost its store.
pub const HISTORY: usize = 200;

/// How many keys of ended tasks are known, so that none of them is executed again.
const KEYS: usize = 4_096;

/// How many slots of plans are known to have been done here.
const SLOTS: usize = 4_096;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A task was taken on: from here on it is owed an answer.
    Accepted {
        /// What was asked.
        task: Box<StartTask>,
        /// When it came.
        at: Timestamp,
    },
    /// It ended; the result is owed to the coordinator.
    Finished(Box<Answer>),
    /// The coordinator has the result.
    Acknowledged {
        /// Which.
        key: TaskKey,
    },
    /// The plans that cover this host.
    Plans {
        /// All of them.
        plans: Vec<PlanText>,
    },
    /// The labels of this host: plans pick hosts by them.
    Labels {
        /// All of them.
        labels: Labels,
    },
    /// Whether the coordinator lets anything start here by itself.
    Suspension(Suspension),
    /// The coordinator was there.
    Contact {
        /// When.
        at: Timestamp,
    },
    /// Only in a compacted journal: a result that was acknowledged.
    Remembered(Box<Answer>),
    /// Only in a compacted journal: keys of tasks that ended, and slots that were done.
    Done {
        /// Keys, oldest first.
        keys: Vec<TaskKey>,
        /// Slots, oldest first.
        slots: Vec<Slot>,
    },
}

/// A result as the journal holds it: its document lies in a file of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The result, without its document.
    pub result: TaskResult,
    /// The document, if there is one.
    pub document: Option<DocumentId>,
}

/// A task that was taken on and has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// What was asked.
    pub task: StartTask,
    /// When it came.
    pub at: Timestamp,
}

/// What the agent remembers: the journal read from its beginning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    open: BTreeMap<TaskKey, Accepted>,
    owed: Vec<Answer>,
    history: VecDeque<Answer>,
    keys: VecDeque<TaskKey>,
    slots: VecDeque<Slot>,
    plans: Vec<PlanText>,
    /// The newest plans that were any: a coordinator that lost its store says that there are none.
    any_plans: Vec<PlanText>,
    labels: Labels,
    suspension: Suspension,
    contact: Option<Timestamp>,
}

impl Memory {
    /// Takes one more line. Lines that say again what is known change nothing.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted { task, at } => {
                self.open.insert(task.key, Accepted { task: *task, at });
            }
            Record::Finished(answer) => self.finish(*answer),
            Record::Acknowledged { key } => self.acknowledge(key),
            Record::Plans { plans } => {
                if !plans.is_empty() {
                    self.any_plans.clone_from(&plans);
                }
                self.plans = plans;
            }
            Record::Labels { labels } => self.labels = labels,
            Record::Suspension(suspension) => self.suspension = suspension,
            Record::Contact { at } => self.contact = self.contact.max(Some(at)),
            Record::Remembered(answer) => self.remember(*answer),
            Record::Done { keys, slots } => {
                keys.into_iter().for_each(|key| self.note_key(key));
                slots.into_iter().for_each(|slot| self.note_slot(slot));
            }
        }
    }

    fn finish(&mut self, answer: Answer) {
        let key = answer.result.key;
        let slot = answer.result.slot.clone();
        self.open.remove(&key);
        self.owed.retain(|owed| owed.result.key != key);
        self.owed.push(answer);
        self.note_key(key);
        if let Some(slot) = slot {
            self.note_slot(slot);
        }
    }

    fn acknowledge(&mut self, key: TaskKey) {
        let Some(place) = self.owed.iter().position(|owed| owed.result.key == key) else {
            return;
        };
        let answer = self.owed.remove(place);
        self.remember(answer);
    }

    fn remember(&mut self, answer: Answer) {
        self.note_key(answer.result.key);
        if let Some(slot) = answer.result.slot.clone() {
            self.note_slot(slot);
        }
        self.history.push_back(answer);
        while self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    fn note_key(&mut self, key: TaskKey) {
        if !self.keys.contains(&key) {
            self.keys.push_back(key);
        }
        while self.keys.len() > KEYS {
            self.keys.pop_front();
        }
    }

    fn note_slot(&mut self, slot: Slot) {
        if !self.slots.contains(&slot) {
            self.slots.push_back(slot);
        }
        while self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
    }

    /// The fewest lines that say the same.
    pub fn records(&self) -> Vec<Record> {
        let mut records = vec![
            Record::Done {
                keys: self.keys.iter().copied().collect(),
                slots: self.slots.iter().cloned().collect(),
            },
            Record::Plans {
                plans: self.any_plans.clone(),
            },
            Record::Plans {
                plans: self.plans.clone(),
            },
            Record::Labels {
                labels: self.labels.clone(),
            },
            Record::Suspension(self.suspension.clone()),
        ];
        records.extend(self.contact.map(|at| Record::Contact { at }));
        records.extend(self.history.iter().cloned().map(Box::new).map(Record::Remembered));
        records.extend(self.owed.iter().cloned().map(Box::new).map(Record::Finished));
        records.extend(self.open.values().cloned().map(|open| Record::Accepted {
            task: Box::new(open.task),
            at: open.at,
        }));
        records
    }

    /// Tasks taken on and not ended, by key.
    pub fn open(&self) -> impl Iterator<Item = &Accepted> {
        self.open.values()
    }

    /// The open task of that key.
    pub fn opened(&self, key: &TaskKey) -> Option<&Accepted> {
        self.open.get(key)
    }

    /// Results that the coordinator does not have yet, oldest first.
    pub fn owed(&self) -> &[Answer] {
        &self.owed
    }

    /// Results that it has, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Answer> {
        self.history.iter()
    }

    /// The result of that key, if it is still remembered.
    pub fn answer(&self, key: &TaskKey) -> Option<&Answer> {
        self.owed
            .iter()
            .chain(&self.history)
            .find(|answer| answer.result.key == *key)
    }

    /// Whether a task of that key ended here.
    pub fn has_ended(&self, key: &TaskKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether that slot of a plan was done here, or is being done.
    pub fn knows_slot(&self, slot: &Slot) -> bool {
        let open = |accepted: &Accepted| accepted.task.slot.as_ref() == Some(slot);
        self.slots.contains(slot) || self.open.values().any(open)
    }

    /// The newest slot of a plan that was done here.
    pub fn newest_slot(&self, plan: &str) -> Option<Timestamp> {
        let open = self.open.values().filter_map(|open| open.task.slot.as_ref());
        let slots = self.slots.iter().chain(open);
        slots.filter(|slot| slot.plan == plan).map(|slot| slot.at).max()
    }

    /// The last plans that were received.
    pub fn plans(&self) -> &[PlanText] {
        &self.plans
    }

    /// The last plans that were received and were any: what an empty coordinator is told. It takes them disabled, for
    /// somebody to look at, so that one which was taken away on purpose does not come back by itself.
    pub fn plans_to_recall(&self) -> &[PlanText] {
        &self.any_plans
    }

    /// The labels of this host, as a coordinator last said them.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What the coordinator last said of suspension.
    pub fn suspension(&self) -> &Suspension {
        &self.suspension
    }

    /// When a coordinator last answered.
    pub fn contact(&self) -> Option<Timestamp> {
        self.contact
    }

    /// Documents that somebody may still ask for.
    pub fn documents(&self) -> impl Iterator<Item = &DocumentId> {
        self.owed
            .iter()
            .chain(&self.history)
            .filter_map(|answer| answer.document.as_ref())
    }
}
