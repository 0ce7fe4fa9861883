//! Hosts that need somebody.

use std::collections::BTreeSet;

use dr_proto::model::plan::{Member, On, Plan};
use dr_proto::model::{HostName, Selector, SourceInfo};

use super::super::missing::Missing;
use super::{
    A_DAY, A_MONTH, Concern, Difference, FleetState, HostRecord, HostState, OUTAGE, PlanRecord, Result,
    Severity, SignedDuration, Store, Surroundings, Timestamp, of_fleet, of_host, scheduler,
};

/// Hosts that are not heard of.
pub(super) fn lost(
    hosts: &[HostRecord],
    expected: &Difference,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Vec<Concern> {
    // What is said of it as missing need not be said twice.
    let missing: BTreeSet<&HostName> = expected
        .missing
        .iter()
        .filter(|host| host.overdue)
        .map(|host| &host.host)
        .collect();
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
        if silent_for > A_DAY && !missing.contains(&host.host) {
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

/// What the list of expected hosts and the fleet differ in. A host whose machine was replaced is waited for elsewhere.
pub(super) fn unlike(expected: &Difference, hosts: &[HostRecord]) -> Vec<Concern> {
    let awaited: BTreeSet<&HostName> = hosts
        .iter()
        .filter(|host| host.awaited.is_some())
        .map(|host| &host.host)
        .collect();
    let overdue = |host: &&Missing| host.overdue && !awaited.contains(&host.host);
    let missing = expected.missing.iter().filter(overdue).map(|host| {
        let name = &host.host;
        of_host(
            name,
            Severity::Ticket,
            "host_missing",
            format!("it should be there: {}", host.reason),
            format!(
                "drctl agent token --host {name} and `dr-agent enroll` there; or take it out of the list"
            ),
        )
    });
    let unexpected = expected.unexpected.iter().map(|host| {
        let name = &host.host;
        of_host(
            name,
            Severity::Ticket,
            "host_unexpected",
            "it enrolled and is not in the list of expected hosts".to_owned(),
            format!("add it to the list; or drctl agent revoke {name}"),
        )
    });
    missing.chain(unexpected).collect()
}

/// Hosts that wait for somebody: for an approval, or for the machine that takes a lost one's place.
pub(super) fn waiting(hosts: &[HostRecord]) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for host in hosts {
        let name = &host.host;
        if host.state.is_welcome() && host.pending {
            let message = "it enrolled and nobody has approved it: it gets no task and no plan".to_owned();
            let remedy = format!(
                "look whether it is the right machine, then drctl agent approve {name}; else drctl agent revoke {name}"
            );
            concerns.push(of_host(name, Severity::Ticket, "agent_pending", message, remedy));
        }
        if let Some(since) = host.awaited {
            let message = format!("its machine was replaced at {since:.0} and the new one has not enrolled");
            let remedy = format!(
                "dr-agent enroll on the new machine; drctl agent replace {name} makes another token, drctl agent retire \
                 {name} gives the host up"
            );
            concerns.push(of_host(name, Severity::Ticket, "agent_awaited", message, remedy));
        }
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

/// Sources that their agents can not read, or found damaged.
pub(super) fn damaged(fleet: &FleetState) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for (host, facts) in fleet.hosts.iter().filter(|(_, facts)| facts.barred.is_none()) {
        for source in facts.sources.iter().filter(|source| source.configured) {
            if let Some(problem) = &source.problem {
                let remedy = if source.damaged {
                    let check = match source.kind.as_str() {
                        "audit-log" => "audit-log",
                        _ => "vector-db",
                    };
                    format!("drctl check {check} --host {host}, then restore what is damaged")
                } else {
                    format!("is it mounted, and may the agent read it? `dr-agent doctor` on {host} tells")
                };
                concerns.push(Concern {
                    source: Some(source.name.clone()),
                    ..of_host(
                        host,
                        Severity::Page,
                        "source_damaged",
                        format!("{}: {problem}", source.path),
                        remedy,
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
        // A plan that can not be read covers nothing; the scheduler tells of it.
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
        // A name alone is no protection: what was found on the host may be called like a source.
        let covers = |plan: &Plan| {
            record.source.configured && plan.covers(member, now).sources().contains(&record.source.name)
        };
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

/// Hosts whose agent has said what it protects, and that is nothing. Hosts that rehearse for others need not.
pub(super) async fn unprotected(
    store: &Store,
    fleet: &FleetState,
    plans: &[PlanRecord],
) -> Result<Vec<Concern>> {
    let runners: Vec<Selector> = plans
        .iter()
        .filter(|plan| plan.enabled)
        .filter_map(|plan| match scheduler::parse(plan).ok()?.action.on() {
            On::Itself => None,
            On::Hosts(selector) => Some(selector.clone()),
        })
        .collect();
    let mut concerns = Vec::new();
    for inventory in store.inventories().list().await? {
        let host = inventory.host;
        let Some(facts) = fleet.hosts.get(&host).filter(|facts| facts.barred.is_none()) else {
            continue;
        };
        let protects = facts.sources.iter().any(|source| source.configured);
        if protects || runners.iter().any(|runner| runner.matches(&host, &facts.labels)) {
            continue;
        }
        let message = "it protects nothing: its agent.toml names no source".to_owned();
        let remedy = format!(
            "`dr-agent discover` there finds what should be in [[source]]; drctl agent retire {host} if it holds no data"
        );
        concerns.push(of_host(
            &host,
            Severity::Ticket,
            "host_unprotected",
            message,
            remedy,
        ));
    }
    Ok(concerns)
}

/// Sources that are in snapshots of the last month and that their hosts do not name any more: a folder that a glob
/// used to match, or an entry that was taken out of a file.
pub(super) async fn gone(store: &Store, fleet: &FleetState, now: Timestamp) -> Result<Vec<Concern>> {
    let mut concerns = Vec::new();
    for cuts in store.inventories().cuts().await? {
        let Some(facts) = fleet.hosts.get(&cuts.host).filter(|facts| facts.barred.is_none()) else {
            continue;
        };
        let named = |source: &SourceInfo| source.configured && source.name == cuts.source;
        if facts.sources.iter().any(named) || now.duration_since(cuts.last) > A_MONTH {
            continue;
        }
        let host = &cuts.host;
        let message = format!(
            "it is in snapshots until {:.0}, and the host does not name it any more",
            cuts.last
        );
        let remedy = format!(
            "bring it back: drctl restore start --from {host} --source {}, or its entry in agent.toml; if it is gone for \
             good, this ends a month after its last snapshot",
            cuts.source
        );
        concerns.push(Concern {
            source: Some(cuts.source.clone()),
            ..of_host(host, Severity::Ticket, "source_gone", message, remedy)
        });
    }
    Ok(concerns)
}
