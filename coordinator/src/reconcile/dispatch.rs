//! Which queued tasks may be handed out now: a pure decision.
//!
//! # Overview
//! Requests of operators go first, then older runs before younger, then waves, then hosts by their share of the
//! jitter. A task that has to wait says why, and holds up nobody: the next one is looked at. One that its agent is too
//! old to understand is not handed out at all: the agent would skip what it does not know, and do something else. What is at work counts
//! against the caps until it ends, also on an agent that is not heard of: it may well be working.
//!
//! A wave begins when every task of the waves before it has ended. A run is stopped when more of its hosts failed, or
//! were inconclusive, than its plan tolerates: the share is taken of all hosts in the waves that have begun, so that
//! one failure in a first wave of one host stops the run, and one in a last wave of a thousand does not.

use std::collections::{BTreeMap, BTreeSet};

use dr_proto::model::units::Percent;
use dr_proto::model::{HostName, RunId, RunState, TaskId, TaskKey, TaskState, capability, plan};
use dr_store::runs::{Origin, RunRecord};
use dr_store::tasks::{Tally, TaskRecord};
use jiff::Timestamp;

use super::fleet::{FleetState, HostFacts};

/// How many tasks may be at work at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// In all.
    pub tasks: usize,
    /// On one agent.
    pub per_host: usize,
    /// On all agents together that carry the same value of a label.
    pub per_label: BTreeMap<String, usize>,
}

/// Everything that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// Everything that has not ended.
    pub open: &'a [TaskRecord],
    /// Runs that have not ended.
    pub runs: &'a BTreeMap<RunId, RunRecord>,
    /// How far each of them is, wave by wave.
    pub waves: &'a BTreeMap<RunId, BTreeMap<u32, Tally>>,
    /// The hosts.
    pub fleet: &'a FleetState,
    /// Agents that can be sent to.
    pub connected: &'a BTreeSet<HostName>,
    /// The caps.
    pub caps: &'a Caps,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Tasks to hand out, in this order.
    pub start: Vec<TaskId>,
    /// Tasks that wait, and why.
    pub waiting: Vec<(TaskId, String)>,
    /// Tasks that their agents are too old for, and what is to be done.
    pub beyond: Vec<(TaskKey, String)>,
    /// Runs to stop, and why.
    pub stop: Vec<(RunId, String)>,
}

/// Decides.
pub fn choose(situation: &Situation<'_>) -> Choice {
    let mut choice = Choice::default();
    let mut stopped = BTreeSet::new();
    for run in situation.runs.values() {
        if let Some(why) = breach(run, situation.waves.get(&run.id)) {
            stopped.insert(run.id);
            choice.stop.push((run.id, why));
        }
    }
    let mut load = Load::of(situation);
    for task in in_order(situation) {
        if stopped.contains(&task.run) {
            continue;
        }
        let facts = situation.fleet.hosts.get(&task.agent);
        let beyond = facts.and_then(|facts| beyond(task, &facts.version, &facts.capabilities));
        match (hold(task, situation, &load), beyond) {
            (Some(why), _) => choice.waiting.push((task.id, why)),
            (None, Some(why)) => choice.beyond.push((task.key(), why)),
            (None, None) => {
                load.add(&task.agent, facts);
                choice.start.push(task.id);
            }
        }
    }
    choice
}

/// Queued tasks, those that go first first.
fn in_order<'a>(situation: &Situation<'a>) -> Vec<&'a TaskRecord> {
    let mut queued: Vec<&TaskRecord> = situation
        .open
        .iter()
        .filter(|task| task.state == TaskState::Queued)
        .collect();
    let by_hand = |task: &TaskRecord| {
        let run = situation.runs.get(&task.run);
        run.is_some_and(|run| run.origin == Origin::Operator)
    };
    queued.sort_by_key(|task| (!by_hand(task), task.run, task.wave, task.not_before, &task.host));
    queued
}

/// Why a task has to wait. The words do not change while the reason does not, so that nothing is written twice.
fn hold(task: &TaskRecord, situation: &Situation<'_>, load: &Load<'_>) -> Option<String> {
    let Some(run) = situation
        .runs
        .get(&task.run)
        .filter(|run| run.state == RunState::Running)
    else {
        return Some("waits for its run to begin".to_owned());
    };
    if task.not_before > situation.now {
        return Some(format!("waits until {}", task.not_before));
    }
    if let Some(wave) = wave_before(task, situation.waves.get(&run.id)) {
        return Some(format!("waits for wave {wave} to end"));
    }
    let Some(facts) = situation.fleet.hosts.get(&task.agent) else {
        return Some(format!("waits for {}, which is not known here", task.agent));
    };
    if let Some(barred) = &facts.barred {
        return Some(format!("waits: {} is {barred}", task.agent));
    }
    if let Some(hold) = &facts.suspended {
        return Some(match hold.until {
            Some(until) => format!("waits: suspended until {until}, {}", hold.reason),
            None => format!("waits: suspended {}", hold.reason),
        });
    }
    if !situation.connected.contains(&task.agent) {
        return Some(format!("waits for the agent of {} to connect", task.agent));
    }
    if facts.recalled {
        return Some(format!(
            "waits for what the agent of {} remembers: this store was recovered from a copy",
            task.agent
        ));
    }
    load.full(task, facts, situation.caps)
}

/// The cause of tasks that end like that.
pub(super) const TOO_OLD: &str = "agent_too_old";

/// Why an agent of this version would do something else than it is asked: it does not know a field of it.
pub(super) fn beyond(task: &TaskRecord, version: &str, capabilities: &[String]) -> Option<String> {
    let missing = capability::missing(&task.work, capabilities);
    (!missing.is_empty()).then(|| {
        format!(
            "the agent of {} is dr-agent {version}, which does not understand {}: upgrade it",
            task.agent,
            missing.join(", ")
        )
    })
}

/// The first wave before the task's own that has not ended.
fn wave_before(task: &TaskRecord, waves: Option<&BTreeMap<u32, Tally>>) -> Option<u32> {
    let unfinished = |tally: &Tally| tally.iter().any(|(state, count)| !state.is_final() && *count > 0);
    let earlier = waves?.range(..task.wave).find(|(_, tally)| unfinished(tally));
    earlier.map(|(wave, _)| *wave)
}

/// Why a run must not go on.
fn breach(run: &RunRecord, waves: Option<&BTreeMap<u32, Tally>>) -> Option<String> {
    let waves = waves.filter(|_| run.state == RunState::Running)?;
    let mut so_far = plan::Tally::default();
    for tally in waves.values() {
        let size: u32 = tally.values().sum();
        if tally.get(&TaskState::Queued).copied().unwrap_or(0) == size {
            continue;
        }
        so_far.asked += size;
        for (state, count) in tally {
            match RunState::settle([*state]) {
                Some(RunState::Failed) => so_far.failed += count,
                Some(RunState::Inconclusive) => so_far.inconclusive += count,
                _ => {}
            }
        }
    }
    let percent = |share: Option<f64>| share.map(|share| Percent(share * 100.0));
    let limits = plan::Waves {
        stop_failed: percent(run.rollout.stop_failed),
        stop_inconclusive: percent(run.rollout.stop_inconclusive),
        ..plan::Waves::default()
    };
    limits.stop(so_far)
}

/// What is at work.
#[derive(Debug, Default)]
struct Load<'a> {
    all: usize,
    by_agent: BTreeMap<&'a HostName, usize>,
    by_label: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> Load<'a> {
    fn of(situation: &Situation<'a>) -> Self {
        let mut load = Self::default();
        for task in situation.open {
            if matches!(task.state, TaskState::Offered | TaskState::Running) {
                load.add(&task.agent, situation.fleet.hosts.get(&task.agent));
            }
        }
        load
    }

    fn add(&mut self, agent: &'a HostName, facts: Option<&'a HostFacts>) {
        self.all += 1;
        *self.by_agent.entry(agent).or_default() += 1;
        for (key, value) in facts.into_iter().flat_map(|facts| facts.labels.iter()) {
            *self.by_label.entry((key, value)).or_default() += 1;
        }
    }

    /// The cap that one more task would pass.
    fn full(&self, task: &TaskRecord, facts: &HostFacts, caps: &Caps) -> Option<String> {
        if self.all >= caps.tasks {
            return Some(format!("waits: {} tasks may be at work at a time", caps.tasks));
        }
        if self.by_agent.get(&task.agent).copied().unwrap_or(0) >= caps.per_host {
            return Some(format!(
                "waits: {} may be at work on {} at a time",
                caps.per_host, task.agent
            ));
        }
        caps.per_label.iter().find_map(|(key, most)| {
            let value = facts.labels.get(key)?;
            let busy = self.by_label.get(&(key.as_str(), value)).copied().unwrap_or(0);
            (busy >= *most).then(|| format!("waits: {most} may be at work with {key}={value} at a time"))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
