//! Hosts that need somebody.

use dr_proto::model::plan::Member;
use dr_proto::model::plan::Plan;

use super::{
    A_DAY, Concern, FleetState, HostRecord, HostState, OUTAGE, PlanRecord, Result, Severity, SignedDuration,
    Store, Surroundings, Timestamp, of_fleet, of_host, scheduler,
};

/// Hosts that are not heard of.
pub(super) fn lost(hosts: &[HostRecord], around: &Surroundings<'_>, now: Timestamp) -> Vec<Concern> {
    let lost_after = SignedDuration::try_from(around.lost_after).unwrap_or(SignedDuration::MAX);
    let silent = |host: &HostRecord| {
        let since = host.last_seen.or(host.enrolled).unwrap_or(host.created);
        (now.duration_since(since), since)
    };
    let welcome: Vec<&HostRecord> = hosts.iter().filter(|host| host.state.is_welcome()).collect();
    let mut concerns = Vec::new();
    let mut lost = 0;
    for host in &welcome {
        let (silent_for, since) = silent(host);
        if around.connected.contains(&host.host) || silent_for <= lost_after {
            continue;
        }
        if host.state == HostState::Enrolled {
            lost += 1;
        }
        if silent_for > A_DAY {
            let (kind, message, remedy) = match host.state {
                HostState::Expected => (
                    "agent_expected",
                    format!("expected since {since} and never here"),
                    format!(
                        "drctl agent token --host {0}, then `dr-agent enroll` there; or drctl agent retire {0}",
                        host.host
                    ),
                ),
                _ => (
                    "agent_lost",
                    format!("not heard of since {since}"),
                    format!(
                        "look at `systemctl status dr-agent` on {0}; if the host is gone, drctl agent retire {0}",
                        host.host
                    ),
                ),
            };
            concerns.push(of_host(&host.host, Severity::Ticket, kind, message, remedy));
        }
    }
    let enrolled = welcome
        .iter()
        .filter(|host| host.state == HostState::Enrolled)
        .count();
    if lost * OUTAGE > enrolled {
        let message = format!("{lost} of {enrolled} agents are lost");
        let remedy = "look at the network between the agents and the coordinator, and at its certificates";
        concerns.push(of_fleet(Severity::Page, "agents_lost", message, remedy));
    }
    concerns
}

/// Hosts whose clock, certificate or repository needs somebody.
pub(super) fn odd(hosts: &[HostRecord], around: &Surroundings<'_>) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for host in hosts.iter().filter(|host| host.state == HostState::Enrolled) {
        if let Some(skew) = host
            .clock_skew
            .filter(|skew| skew.unsigned_abs() > around.max_clock_skew)
        {
            let message = format!("its clock is off by {} s", skew.as_secs());
            let remedy = "set its clock by NTP: retention and proofs are judged by time".to_owned();
            concerns.push(of_host(
                &host.host,
                Severity::Ticket,
                "clock_skew",
                message,
                remedy,
            ));
        }
        if host.repository.is_some() && !host.repository_encrypted {
            let message = "its repository is not encrypted".to_owned();
            let remedy = "make a new repository with `dr-agent init` and a recovery recipient".to_owned();
            concerns.push(of_host(
                &host.host,
                Severity::Ticket,
                "repository_unencrypted",
                message,
                remedy,
            ));
        }
    }
    concerns
}

/// Sources that their agents can not read.
pub(super) fn damaged(fleet: &FleetState) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for (host, facts) in fleet.hosts.iter().filter(|(_, facts)| facts.barred.is_none()) {
        for source in facts.sources.iter().filter(|source| source.configured) {
            if let Some(problem) = &source.problem {
                concerns.push(Concern {
                    source: Some(source.name.clone()),
                    ..of_host(
                        host,
                        Severity::Page,
                        "source_damaged",
                        format!("{}: {problem}", source.path),
                        format!("drctl check vector-db --host {host}, then restore what is damaged"),
                    )
                });
            }
        }
    }
    concerns
}

/// Sources that nobody protects: known for a day and in no enabled plan.
pub(super) async fn uncovered(
    store: &Store,
    fleet: &FleetState,
    plans: &[PlanRecord],
    now: Timestamp,
) -> Result<Vec<Concern>> {
    let enabled: Vec<Plan> = plans
        .iter()
        .filter(|plan| plan.enabled)
        .filter_map(|plan| scheduler::parse(plan).ok())
        .collect();
    let mut concerns = Vec::new();
    for record in store.inventories().sources(None).await? {
        let Some(facts) = fleet
            .hosts
            .get(&record.host)
            .filter(|facts| facts.barred.is_none())
        else {
            continue;
        };
        let member = Member {
            host: &record.host,
            labels: &facts.labels,
            sources: Some(facts.sources.as_slice()),
        };
        let covers = |plan: &Plan| plan.covers(member, now).sources().contains(&record.source.name);
        if now.duration_since(record.first_seen) <= A_DAY || enabled.iter().any(covers) {
            continue;
        }
        let (message, remedy) = if record.source.configured {
            let remedy = "add the host's labels to a plan's `select`, or write a plan for it";
            (format!("no enabled plan covers {}", record.source.path), remedy)
        } else {
            let remedy = "add it to [[source]] in the host's agent.toml";
            (
                format!(
                    "{} was found on the host and is not configured",
                    record.source.path
                ),
                remedy,
            )
        };
        concerns.push(Concern {
            source: Some(record.source.name),
            ..of_host(
                &record.host,
                Severity::Ticket,
                "source_uncovered",
                message,
                remedy.to_owned(),
            )
        });
    }
    Ok(concerns)
}
