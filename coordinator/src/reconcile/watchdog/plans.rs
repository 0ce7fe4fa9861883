//! Plans in force that prove nothing: nobody to ask, never due, or a newest run that did not pass.

use std::collections::BTreeMap;

use dr_proto::model::RunState;
use dr_proto::model::plan::{Coverage, Member, Plan};

use super::{Concern, FleetState, PlanRecord, Result, Severity, Store, Timestamp, of_fleet, scheduler};

/// Plans that cover no host, and plans that are never due because of what they come after. What can not be read is
/// told elsewhere.
pub(super) fn idle(plans: &[PlanRecord], fleet: &FleetState, now: Timestamp) -> Vec<Concern> {
    let enabled: BTreeMap<String, Plan> = plans
        .iter()
        .filter(|record| record.enabled)
        .filter_map(|record| Some((record.name.clone(), scheduler::parse(record).ok()?)))
        .collect();
    let mut concerns = Vec::new();
    let recovered = plans.iter().filter(|plan| !plan.enabled).count();
    if enabled.is_empty() && recovered > 0 {
        let message = format!("no plan is in force: nothing runs by itself; {recovered} are disabled");
        let remedy = "drctl plan list, then drctl plan enable; plans that agents told a new store are disabled until then";
        concerns.push(of_fleet(Severity::Ticket, "no_plan_enabled", message, remedy));
    }
    for (name, plan) in &enabled {
        if let Some(why) = never_due(plan, &enabled) {
            let message = format!("plan `{name}` never runs: {why}");
            let remedy =
                format!("mend `schedule.after`, or drctl plan apply what it names; drctl plan show {name}");
            concerns.push(of_fleet(Severity::Ticket, "plan_never_due", message, &remedy));
        }
        if let Some(why) = covers_nobody(plan, fleet, now) {
            let message = format!("plan `{name}` rehearses nothing: {why}");
            let remedy =
                format!("drctl plan preview {name}, then mend its `select`; drctl agent list shows labels");
            concerns.push(of_fleet(Severity::Ticket, "plan_covers_nobody", message, &remedy));
        }
    }
    concerns
}

/// Why a plan can not become due: what it comes after is not in force, or comes after it.
fn never_due(plan: &Plan, enabled: &BTreeMap<String, Plan>) -> Option<String> {
    let mut chain = vec![plan.name.as_str()];
    let mut before = plan.schedule.after.as_deref();
    while let Some(name) = before {
        if let Some(start) = chain.iter().position(|seen| *seen == name) {
            // A plan that merely comes after a ring waits for it in vain as well.
            return Some(format!("`{}` come after each other", chain[start..].join("`, `")));
        }
        let Some(found) = enabled.get(name) else {
            return Some(format!("it comes after `{name}`, which is not in force"));
        };
        chain.push(name);
        before = found.schedule.after.as_deref();
    }
    None
}

/// Why a plan finds no host, if it finds none.
fn covers_nobody(plan: &Plan, fleet: &FleetState, now: Timestamp) -> Option<String> {
    let mut left_out = None;
    for (host, facts) in fleet.hosts.iter().filter(|(_, facts)| facts.barred.is_none()) {
        let member = Member {
            host,
            labels: &facts.labels,
            sources: facts.enrolled.then_some(facts.sources.as_slice()),
        };
        match plan.covers(member, now) {
            Coverage::Whole { .. } | Coverage::Part { .. } => return None,
            Coverage::Excluded { reason, .. } => {
                left_out.get_or_insert_with(|| format!("{host} is left out, {reason}"));
            }
            Coverage::Elsewhere => {}
        }
    }
    Some(left_out.unwrap_or_else(|| format!("no host matches `{}`", plan.select.labels)))
}

/// Plans whose newest run ended and did not pass. What single sources lack is told beside it; that a run asked nobody,
/// or too few, is told here only.
pub(super) async fn not_passed(store: &Store, plans: &[PlanRecord]) -> Result<Vec<Concern>> {
    let mut concerns = Vec::new();
    for record in plans.iter().filter(|record| record.enabled) {
        let Some(run) = store.runs().newest_of(&record.name).await? else {
            continue;
        };
        if !run.state.is_final() || run.state == RunState::Passed {
            continue;
        }
        let why = match run.explanation.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let message = format!("the newest run of plan `{}` is {}{why}", record.name, run.state);
        let remedy = format!(
            "drctl run show {0}; drctl run retry {0} asks again those that did not pass",
            run.id
        );
        concerns.push(of_fleet(Severity::Ticket, "plan_not_passed", message, &remedy));
    }
    Ok(concerns)
}
