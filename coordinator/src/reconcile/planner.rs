//! What a plan does in one slot: a pure function of the plan, the fleet and the slot.
//!
//! # Overview
//! Preview and scheduler call the same function, so that the preview is what the run then does. Hosts that are selected
//! and left out are named with the reason. The order of hosts is drawn for each slot from plan, slot and host: the
//! first wave is not always the same host, and everybody computes the same.

use std::collections::BTreeMap;

use dr_proto::model::plan::{Action, Coverage, Member, On, Plan};
use dr_proto::model::{DrillKind, HostName, Work};
use dr_store::runs::{Excluded, NewRun, NewTask, Origin, PlanSlot, Rollout};
use jiff::{SignedDuration, Timestamp};

use super::fleet::{FleetState, HostFacts};

/// How long work may still begin if neither a window nor a next slot says.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// When a slot's work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The slot: the name of the run.
    pub slot: Timestamp,
    /// From when on hosts are asked: the slot itself, or now if it is made up for.
    pub begin: Timestamp,
    /// From when on the window counts.
    pub window_from: Timestamp,
    /// Whether hosts begin spread over the plan's jitter.
    pub spread: bool,
}

impl Start {
    /// By the clock.
    pub fn on_time(slot: Timestamp) -> Self {
        Self {
            slot,
            begin: slot,
            window_from: slot,
            spread: true,
        }
    }

    /// A slot that another plan held up: spread from now on, within what is left of its window.
    pub fn held(slot: Timestamp, now: Timestamp) -> Self {
        Self {
            begin: now,
            ..Self::on_time(slot)
        }
    }

    /// A slot whose window is over: spread from now on, so that hosts do not all begin at once, within a window as
    /// long as its own.
    pub fn late(slot: Timestamp, now: Timestamp) -> Self {
        Self {
            slot,
            begin: now,
            window_from: now,
            spread: true,
        }
    }

    /// Because somebody asks, at once.
    pub fn now(now: Timestamp) -> Self {
        Self {
            slot: now,
            begin: now,
            window_from: now,
            spread: false,
        }
    }
}

/// What a plan does in one slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// One a host, in the order of waves.
    pub hosts: Vec<PlannedHost>,
    /// Hosts that are selected and left out.
    pub excluded: Vec<Excluded>,
    /// How many waves there are.
    pub waves: u32,
    /// What restore drills fetch at the most.
    pub bytes: u64,
    /// What somebody should know before.
    pub warnings: Vec<String>,
    /// Why the run must not begin at all.
    pub refused: Option<String>,
}

/// What a plan asks of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedHost {
    /// The host.
    pub host: HostName,
    /// The agent that does the work.
    pub on: HostName,
    /// Names of the sources, as far as they are known.
    pub sources: Vec<String>,
    /// Bytes of its newest snapshot.
    pub bytes: u64,
    /// Which wave it belongs to, from 1.
    pub wave: u32,
    /// What is asked.
    pub work: Work,
    /// When it may begin at the earliest.
    pub not_before: Timestamp,
    /// When it must have begun at the latest.
    pub start_by: Timestamp,
}

/// What a plan does in one slot. `held` are hosts that another plan holds up, with the reason.
pub fn plan(plan: &Plan, fleet: &FleetState, start: Start, held: &BTreeMap<HostName, String>) -> Planned {
    let mut planned = Planned {
        hosts: Vec::new(),
        excluded: Vec::new(),
        waves: 0,
        bytes: 0,
        warnings: Vec::new(),
        refused: None,
    };
    for (host, facts) in &fleet.hosts {
        match judge(plan, fleet, start, host, facts, held) {
            Judged::Elsewhere => {}
            Judged::Excluded(excluded) => planned.excluded.push(excluded),
            Judged::Taken(taken) => planned.hosts.push(*taken),
        }
    }
    order(plan, start.slot, &mut planned);
    if fetches(plan) {
        planned.bytes = planned.hosts.iter().map(|host| host.bytes).sum();
    }
    planned.warnings = warnings(plan, fleet, &planned);
    planned.refused = refusal(plan, &planned);
    planned
}

impl Planned {
    /// The run that this is. A refused one gets no tasks and says why.
    pub fn into_run(self, plan: &Plan, slot: PlanSlot, origin: Origin, requested_by: &str) -> NewRun {
        let missed = self.excluded.iter().filter(|excluded| !excluded.by_plan).count();
        let targets = u32::try_from(self.hosts.len() + missed).unwrap_or(u32::MAX);
        let rollout = Rollout {
            waves: self.waves,
            stop_failed: plan.waves.stop_failed.map(|percent| percent.0 / 100.0),
            stop_inconclusive: plan.waves.stop_inconclusive.map(|percent| percent.0 / 100.0),
            coverage: plan.waves.coverage.map(|percent| percent.0 / 100.0),
            targets,
        };
        let tasks = match &self.refused {
            Some(_) => Vec::new(),
            None => self.hosts.into_iter().map(|host| task(plan, host)).collect(),
        };
        let explanation = match (&self.refused, tasks.is_empty()) {
            (Some(why), _) => why.clone(),
            (None, true) => nobody(&self.excluded),
            (None, false) => String::new(),
        };
        NewRun {
            slot: Some(slot),
            work: work_of(plan),
            origin,
            requested_by: requested_by.to_owned(),
            reason: String::new(),
            request_id: None,
            traceparent: None,
            explanation,
            rollout,
            excluded: self.excluded,
            tasks,
        }
    }
}

/// What lists show of the plan's work, as `Work` itself would say it.
pub fn work_of(plan: &Plan) -> String {
    match &plan.action {
        Action::Snapshot { .. } => "snapshot".to_owned(),
        Action::Drill(drill) => format!("drill {}", drill.kind),
        Action::Check(kind) => format!("check {kind}"),
    }
}

enum Judged {
    Elsewhere,
    Excluded(Excluded),
    Taken(Box<PlannedHost>),
}

fn judge(
    plan: &Plan,
    fleet: &FleetState,
    start: Start,
    host: &HostName,
    facts: &HostFacts,
    held: &BTreeMap<HostName, String>,
) -> Judged {
    if facts.retired {
        return Judged::Elsewhere;
    }
    let member = Member {
        host,
        labels: &facts.labels,
        sources: (!facts.sources.is_empty()).then_some(facts.sources.as_slice()),
    };
    let excluded = |reason: String, by_plan: bool| {
        Judged::Excluded(Excluded {
            host: host.clone(),
            reason,
            by_plan,
        })
    };
    let coverage = plan.covers(member, start.begin);
    match &coverage {
        Coverage::Elsewhere => return Judged::Elsewhere,
        // A host that has not said what it protects is missed, unless the plan names it as one to leave out.
        Coverage::Excluded { reason, by_name } => {
            return excluded(reason.clone(), *by_name || member.sources.is_some());
        }
        Coverage::Whole { .. } | Coverage::Part { .. } => {}
    }
    let start_by = start_by(plan, start);
    if let Some(reason) = absent(facts, start_by) {
        return excluded(reason, false);
    }
    if let Some(reason) = held.get(host) {
        return excluded(reason.clone(), false);
    }
    let Some(runner) = plan.runner(start.slot, host, candidates(plan, fleet)) else {
        return excluded(
            format!("no host that could do the work matches `{}`", runners(plan)),
            false,
        );
    };
    let share = if start.spread {
        plan.schedule.share(&plan.name, start.slot, host)
    } else {
        std::time::Duration::ZERO
    };
    let share = SignedDuration::try_from(share).unwrap_or(SignedDuration::ZERO);
    Judged::Taken(Box::new(PlannedHost {
        host: host.clone(),
        on: runner.clone(),
        sources: coverage.sources().to_vec(),
        bytes: facts.bytes,
        wave: 0,
        work: plan.work_for(host, &coverage, runner),
        not_before: start.begin.saturating_add(share).unwrap_or(start.begin),
        start_by,
    }))
}

/// Why a host can not take part, whatever the plan says.
fn absent(facts: &HostFacts, start_by: Timestamp) -> Option<String> {
    if let Some(barred) = &facts.barred {
        return Some(barred.clone());
    }
    if !facts.enrolled {
        return Some("its agent was never here".to_owned());
    }
    let hold = facts.suspended.as_ref()?;
    let until = hold.until.filter(|until| *until >= start_by)?;
    Some(format!(
        "suspended until {until}, longer than its window: {}",
        hold.reason
    ))
}

/// When work must have begun: the end of the window.
fn start_by(plan: &Plan, start: Start) -> Timestamp {
    let window = window_end(plan, start.slot).duration_since(start.slot);
    start.window_from.saturating_add(window).unwrap_or(Timestamp::MAX)
}

/// When the window of a slot ends; a day after it if neither a window nor a next slot says.
pub(super) fn window_end(plan: &Plan, slot: Timestamp) -> Timestamp {
    let closes = plan.schedule.closes(slot).filter(|closes| *closes > slot);
    closes.unwrap_or_else(|| slot.saturating_add(WINDOW).unwrap_or(Timestamp::MAX))
}

/// Hosts that may do the work for others.
fn candidates<'a>(plan: &'a Plan, fleet: &'a FleetState) -> impl Iterator<Item = &'a HostName> {
    let selector = match plan.action.on() {
        On::Itself => None,
        On::Hosts(selector) => Some(selector),
    };
    fleet.hosts.iter().filter_map(move |(host, facts)| {
        let able = facts.barred.is_none() && facts.enrolled;
        (able && selector.is_some_and(|selector| selector.matches(host, &facts.labels))).then_some(host)
    })
}

fn runners(plan: &Plan) -> String {
    match plan.action.on() {
        On::Itself => "self".to_owned(),
        On::Hosts(selector) => selector.to_string(),
    }
}

/// Orders the hosts and deals them out to waves.
fn order(plan: &Plan, slot: Timestamp, planned: &mut Planned) {
    planned
        .hosts
        .sort_by_cached_key(|host| (plan.rank(slot, &host.host), host.host.clone()));
    let count = u32::try_from(planned.hosts.len()).unwrap_or(u32::MAX);
    let ends = plan.waves.ends(count);
    planned.waves = u32::try_from(ends.len()).unwrap_or(u32::MAX);
    let mut wave = 1_u32;
    let mut ends = ends.into_iter().peekable();
    for (index, host) in (0_u32..).zip(&mut planned.hosts) {
        while ends.peek().is_some_and(|end| *end <= index) {
            ends.next();
            wave += 1;
        }
        host.wave = wave;
    }
}

/// Whether the plan's work fetches what it rehearses.
fn fetches(plan: &Plan) -> bool {
    matches!(&plan.action, Action::Drill(drill) if drill.kind != DrillKind::Verify)
}

fn warnings(plan: &Plan, fleet: &FleetState, planned: &Planned) -> Vec<String> {
    let mut warnings = Vec::new();
    if planned.hosts.is_empty() {
        warnings.push(nobody(&planned.excluded));
    }
    if let Some(before) = &plan.schedule.after {
        warnings.push(format!(
            "begins when the run of `{before}` has ended; hosts on which that does not pass are left out"
        ));
    }
    if let Action::Drill(drill) = &plan.action {
        let refusing: Vec<&str> = planned
            .hosts
            .iter()
            .filter(|host| {
                fleet
                    .hosts
                    .get(&host.on)
                    .is_some_and(|facts| !facts.allow.drills.contains(&drill.kind))
            })
            .map(|host| host.on.as_str())
            .collect();
        if !refusing.is_empty() {
            let hosts = listed(&refusing);
            warnings.push(format!(
                "{hosts} will refuse: `allow.drills` in agent.toml does not name `{}`",
                drill.kind
            ));
        }
    }
    warnings
}

/// The first few names, and how many more there are.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

fn nobody(excluded: &[Excluded]) -> String {
    match excluded {
        [] => "no host matches the plan".to_owned(),
        [one] => format!("nobody to ask: {} is left out, {}", one.host, one.reason),
        [first, ..] => format!(
            "nobody to ask: {} hosts are left out, the first is {}, {}",
            excluded.len(),
            first.host,
            first.reason
        ),
    }
}

fn refusal(plan: &Plan, planned: &Planned) -> Option<String> {
    let most = plan.limits.max_bytes.filter(|most| planned.bytes > *most)?;
    Some(format!(
        "not begun: it would fetch {} bytes, and `limits.max_bytes` is {most}",
        planned.bytes
    ))
}

fn task(plan: &Plan, host: PlannedHost) -> NewTask {
    NewTask {
        host: host.host,
        agent: host.on,
        wave: host.wave,
        work: host.work,
        not_before: host.not_before,
        start_by: Some(host.start_by),
        allowance: plan.limits.deadline,
        retries: plan.limits.retries,
    }
}

#[cfg(test)]
mod tests;
