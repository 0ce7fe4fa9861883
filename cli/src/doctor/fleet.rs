//! The fleet as the coordinator tells of it: clocks, versions, agents, coverage, suspensions, reconcilers.

use dr_proto::view::{Agent, AgentState, Severity, SourceCoverage, Status};
use jiff::{SignedDuration, Timestamp};

use super::Finding;
use crate::coordinator::Coordinator;
use crate::error::Failure;
use crate::session::Session;
use crate::show::{length, short_time};

/// A clock that is further off than this misleads certificates, schedules and ages.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(30);
/// The most hosts or sources that one finding names.
const MOST_NAMES: usize = 5;

pub(super) async fn examine(session: &Session, coordinator: &Coordinator, findings: &mut Vec<Finding>) {
    let asked = (session.now)();
    let status = match coordinator.status().await {
        Ok(status) => status,
        Err(error) => {
            let failure = Failure::from(error);
            findings.push(Finding::of(
                "status",
                &failure,
                "the coordinator's log has the particulars",
            ));
            return;
        }
    };
    findings.push(clock(&status, asked, (session.now)()));
    findings.push(version(&status));
    match coordinator.agents(None).await {
        Ok(found) => findings.extend(agents(&found)),
        Err(error) => findings.push(Finding::of(
            "agents",
            &Failure::from(error),
            "the coordinator's log tells",
        )),
    }
    match coordinator.sources(None, true).await {
        Ok(uncovered) => findings.push(coverage(&uncovered)),
        Err(error) => findings.push(Finding::of(
            "coverage",
            &Failure::from(error),
            "the coordinator's log tells",
        )),
    }
    findings.extend(suspensions(&status));
    findings.extend(reconcilers(&status));
    findings.push(concerns(&status));
}

/// The coordinator's clock should lie between asking and answer.
fn clock(status: &Status, asked: Timestamp, answered: Timestamp) -> Finding {
    let off = if status.now < asked {
        asked.duration_since(status.now)
    } else if status.now > answered {
        status.now.duration_since(answered)
    } else {
        SignedDuration::ZERO
    };
    if off <= MOST_SKEW {
        return Finding::fine("clock", "as the coordinator's");
    }
    let shown = length(off.try_into().unwrap_or_default());
    let found = format!(
        "{shown} apart from the coordinator's ({})",
        short_time(status.now)
    );
    Finding::warning("clock", found, "let both hosts keep time with NTP")
}

fn version(status: &Status) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    if status.version == ours {
        return Finding::fine("version", format!("{ours}, as the coordinator's"));
    }
    Finding::warning(
        "version",
        format!("drctl {ours}, coordinator {}", status.version),
        "install the coordinator's version of drctl",
    )
}

fn agents(agents: &[Agent]) -> Vec<Finding> {
    let names = |state: AgentState| -> Vec<&str> {
        let those = agents.iter().filter(|agent| agent.state == state);
        those.map(|agent| agent.host.as_str()).collect()
    };
    let connected = names(AgentState::Connected).len();
    let mut findings = vec![if agents.is_empty() {
        Finding::warning(
            "agents",
            "no host is known",
            "`drctl agent token` makes a token that enrols one",
        )
    } else {
        Finding::fine("agents", format!("{connected} of {} connected", agents.len()))
    }];
    for (state, fix) in [
        (
            AgentState::Lost,
            "is the host up, does `dr-agent run` run there, does a firewall let it dial out?",
        ),
        (AgentState::Away, "wait a moment; it is lost if it stays away"),
        (
            AgentState::Expected,
            "enrol it with `dr-agent enroll`, or say that it is gone with `drctl agent retire`",
        ),
    ] {
        let hosts = names(state);
        if !hosts.is_empty() {
            let found = format!("{} {state}: {}", hosts.len(), named(&hosts));
            findings.push(Finding::warning("agents", found, fix));
        }
    }
    for agent in agents {
        for problem in &agent.problems {
            let found = format!("{}: {problem}", agent.host);
            let fix = format!("`drctl agent show {}` has the particulars", agent.host);
            findings.push(Finding::warning("agents", found, fix));
        }
    }
    findings
}

fn coverage(uncovered: &[SourceCoverage]) -> Finding {
    if uncovered.is_empty() {
        return Finding::fine("coverage", "every source is covered by an enabled plan");
    }
    let names: Vec<String> = uncovered
        .iter()
        .map(|entry| format!("{}/{}", entry.host, entry.source.name))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Finding::warning(
        "coverage",
        format!(
            "{} sources are covered by no enabled plan: {}",
            names.len(),
            named(&names)
        ),
        "`drctl source list --uncovered` lists them; let a plan select them, or exclude them with a reason",
    )
}

fn suspensions(status: &Status) -> Vec<Finding> {
    let finding = |entry: &dr_proto::view::Suspended| {
        let found = format!(
            "{} until {} by {}: {}",
            entry.scope,
            short_time(entry.until),
            entry.by,
            entry.reason
        );
        let fix = format!("`drctl resume --scope {}` ends it", entry.id);
        Finding::warning("suspended", found, fix)
    };
    status.suspensions.iter().map(finding).collect()
}

fn reconcilers(status: &Status) -> Vec<Finding> {
    let failed = status.reconcilers.iter().filter_map(|reconciler| {
        let error = reconciler.last_error.as_ref()?;
        let found = format!("{}: {error}", reconciler.name);
        Some(Finding::warning(
            "reconcilers",
            found,
            "the coordinator's log has the particulars",
        ))
    });
    failed.collect()
}

fn concerns(status: &Status) -> Finding {
    let count = |severity| {
        status
            .concerns
            .iter()
            .filter(|concern| concern.severity == severity)
            .count()
    };
    let (pages, tickets) = (count(Severity::Page), count(Severity::Ticket));
    if pages + tickets == 0 {
        return Finding::fine("concerns", "none");
    }
    Finding::warning(
        "concerns",
        format!("{pages} to act on now, {tickets} to act on this week"),
        "`drctl status` lists them with what to do",
    )
}

fn named(names: &[&str]) -> String {
    let shown = names
        .iter()
        .take(MOST_NAMES)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(MOST_NAMES).filter(|more| *more > 0) {
        Some(more) => format!("{shown} and {more} more"),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn status(now: &str) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: now.parse().unwrap(),
            epoch: 1,
            agents_connected: 0,
            agents_lost: 0,
            runs_active: 0,
            tasks_queued: 0,
            tasks_running: 0,
            concerns: Vec::new(),
            readiness: Vec::new(),
            suspensions: Vec::new(),
            reconcilers: Vec::new(),
        }
    }

    #[test]
    fn a_slow_call_is_no_skew_and_a_wrong_clock_is() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (asked, answered) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:00Z"));
        assert_eq!(
            clock(&status("2026-01-01T00:00:50Z"), asked, answered).grade,
            Grade::Fine
        );
        let off = clock(&status("2026-01-01T00:03:00Z"), asked, answered);
        assert_eq!(off.grade, Grade::Warning);
        assert!(off.found.starts_with("2m "), "{}", off.found);
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        assert_eq!(named(&["a", "b"]), "a, b");
        assert_eq!(
            named(&["a", "b", "c", "d", "e", "f", "g"]),
            "a, b, c, d, e and 2 more"
        );
    }
}
