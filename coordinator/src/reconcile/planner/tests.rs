use dr_proto::model::Labels;

use super::super::fleet::Hold;
use super::super::testing::{host, source};
use super::*;

const WEEKLY: &str = r#"
schema = 1
name = "weekly"
select = { labels = "env=prod" }
exclude = [ { host = "db-3", reason = "OPS-1", by = "ana", until = "2026-12-31" } ]
schedule = { cron = "0 3 * * *", timezone = "UTC", jitter = "2h", window = "8h" }
drill = { kind = "verify", snapshot = "latest" }
waves = { sizes = ["1", "50 %", "100 %"], stop_failed = "2 %" }
limits = { deadline = "4h", retries = 1 }
"#;

fn slot() -> Timestamp {
    "2026-11-27T03:00:00Z".parse().unwrap()
}

fn fleet(hosts: &[&str]) -> FleetState {
    let facts = HostFacts {
        labels: Labels::parse(["env=prod"]).unwrap(),
        enrolled: true,
        allow: dr_proto::model::Allow {
            drills: vec![DrillKind::Verify, DrillKind::Restore],
            ..dr_proto::model::Allow::default()
        },
        sources: vec![source("memory")],
        bytes: 1_000,
        ..HostFacts::default()
    };
    FleetState {
        hosts: hosts.iter().map(|name| (host(name), facts.clone())).collect(),
    }
}

fn planned(text: &str, fleet: &FleetState) -> Planned {
    plan(
        &Plan::parse(text).unwrap(),
        fleet,
        Start::on_time(slot()),
        &BTreeMap::new(),
    )
}

fn reasons(planned: &Planned) -> Vec<(&str, &str, bool)> {
    let one = |excluded: &'_ Excluded| (excluded.host.clone(), excluded.reason.clone(), excluded.by_plan);
    let all: Vec<_> = planned.excluded.iter().map(one).collect();
    all.into_iter()
        .map(|(host, reason, by_plan)| {
            let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            (leak(host.to_string()), leak(reason), by_plan)
        })
        .collect()
}

#[test]
fn hosts_are_dealt_out_to_waves_and_spread_over_the_jitter() {
    let names: Vec<String> = (10..20).map(|index| format!("db-{index}")).collect();
    let fleet = fleet(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let planned = planned(WEEKLY, &fleet);
    let waves: Vec<u32> = planned.hosts.iter().map(|host| host.wave).collect();
    assert_eq!(waves, [1, 2, 2, 2, 2, 3, 3, 3, 3, 3]);
    assert_eq!(planned.waves, 3);
    let closes: Timestamp = "2026-11-27T11:00:00Z".parse().unwrap();
    for host in &planned.hosts {
        assert!(host.not_before >= slot() && host.not_before < slot() + SignedDuration::from_hours(2));
        assert_eq!(host.start_by, closes);
        assert_eq!(host.sources, ["memory"]);
    }
    let distinct: std::collections::BTreeSet<_> = planned.hosts.iter().map(|host| host.not_before).collect();
    assert!(distinct.len() > 5, "spread");
}

#[test]
fn the_first_wave_is_not_always_the_same_host_and_the_same_for_everybody() {
    let fleet = fleet(&["db-1", "db-2", "db-4", "db-5"]);
    let text = Plan::parse(WEEKLY).unwrap();
    let first = |day: i64| {
        let at = slot() + SignedDuration::from_hours(24 * day);
        let one = plan(&text, &fleet, Start::on_time(at), &BTreeMap::new());
        assert_eq!(one, plan(&text, &fleet, Start::on_time(at), &BTreeMap::new()));
        one.hosts[0].host.clone()
    };
    let firsts: std::collections::BTreeSet<_> = (0..20).map(first).collect();
    assert!(firsts.len() > 1);
}

#[test]
fn everybody_who_is_left_out_is_named_with_the_reason() {
    let mut fleet = fleet(&["db-1", "db-2", "db-3", "db-4", "db-5", "other"]);
    fleet.hosts.get_mut(&host("other")).unwrap().labels = Labels::default();
    fleet.hosts.get_mut(&host("db-2")).unwrap().barred = Some("revoked: stolen".to_owned());
    fleet.hosts.get_mut(&host("db-4")).unwrap().suspended = Some(Hold {
        reason: "host=db-4 by ana: disk".to_owned(),
        until: Some("2026-11-28T00:00:00Z".parse().unwrap()),
    });
    let facts = fleet.hosts.get_mut(&host("db-5")).unwrap();
    facts.enrolled = false;
    facts.sources.clear();
    let planned = planned(WEEKLY, &fleet);
    assert_eq!(planned.hosts.len(), 1);
    let suspended = "suspended until 2026-11-28T00:00:00Z, longer than its window: host=db-4 by ana: disk";
    let expected = [
        ("db-2", "revoked: stolen", false),
        ("db-3", "OPS-1 (ana, until 2027-01-01T00:00:00Z)", true),
        ("db-4", suspended, false),
        ("db-5", "its agent was never here", false),
    ];
    assert_eq!(reasons(&planned), expected);
    let run = planned.into_run(
        &Plan::parse(WEEKLY).unwrap(),
        of(WEEKLY),
        Origin::Schedule,
        "coordinator",
    );
    assert_eq!(
        run.rollout.targets, 4,
        "what the plan itself excludes is not missed"
    );
}

fn of(text: &str) -> PlanSlot {
    let plan = Plan::parse(text).unwrap();
    PlanSlot {
        plan: plan.name.clone(),
        hash: plan.hash().to_owned(),
        at: slot(),
        scheduled: true,
    }
}

#[test]
fn an_exclusion_ends_by_itself() {
    let fleet = fleet(&["db-3"]);
    let text = Plan::parse(WEEKLY).unwrap();
    let later = Start::on_time("2027-01-02T03:00:00Z".parse().unwrap());
    assert!(
        plan(&text, &fleet, Start::on_time(slot()), &BTreeMap::new())
            .hosts
            .is_empty()
    );
    assert_eq!(plan(&text, &fleet, later, &BTreeMap::new()).hosts.len(), 1);
}

#[test]
fn a_suspension_that_ends_within_the_window_is_waited_for() {
    let mut fleet = fleet(&["db-1"]);
    fleet.hosts.get_mut(&host("db-1")).unwrap().suspended = Some(Hold {
        reason: "fleet by ana: upgrade".to_owned(),
        until: Some("2026-11-27T05:00:00Z".parse().unwrap()),
    });
    assert_eq!(planned(WEEKLY, &fleet).hosts.len(), 1);
}

#[test]
fn another_host_does_the_work_if_the_plan_says_so() {
    let text = WEEKLY.replace(
        r#"snapshot = "latest""#,
        r#"snapshot = "latest", on = "role=runner""#,
    );
    let mut fleet = fleet(&["db-1", "db-2"]);
    let nobody = planned(&text, &fleet);
    assert!(
        reasons(&nobody)[0]
            .1
            .contains("no host that could do the work matches `role=runner`")
    );
    let mut runner = fleet.hosts[&host("db-1")].clone();
    runner.labels = Labels::parse(["role=runner"]).unwrap();
    fleet.hosts.insert(host("spare"), runner);
    let planned = planned(&text, &fleet);
    assert_eq!(planned.hosts.len(), 2);
    for one in &planned.hosts {
        assert_eq!(one.on, host("spare"));
        assert_eq!(one.work.from_host(), Some(&one.host));
    }
}

#[test]
fn a_run_that_would_fetch_too_much_is_not_begun() {
    let text = WEEKLY
        .replace(r#"kind = "verify""#, r#"kind = "restore""#)
        .replace("retries = 1", r#"retries = 1, max_bytes = "1 KiB""#);
    let fleet = fleet(&["db-1", "db-2"]);
    let planned = planned(&text, &fleet);
    assert_eq!(planned.bytes, 2_000);
    assert!(
        planned
            .refused
            .as_ref()
            .unwrap()
            .contains("would fetch 2000 bytes")
    );
    let run = planned.into_run(
        &Plan::parse(&text).unwrap(),
        of(&text),
        Origin::Schedule,
        "coordinator",
    );
    assert!(run.tasks.is_empty() && run.explanation.contains("limits.max_bytes"));
}

#[test]
fn refusals_to_come_are_told_before() {
    let text = WEEKLY.replace(r#"kind = "verify""#, r#"kind = "restore""#);
    let mut fleet = fleet(&["db-1"]);
    fleet.hosts.get_mut(&host("db-1")).unwrap().allow.drills = vec![DrillKind::Verify];
    let planned = planned(&text, &fleet);
    assert_eq!(
        planned.warnings,
        ["db-1 will refuse: `allow.drills` in agent.toml does not name `restore`"]
    );
    assert_eq!(planned.hosts.len(), 1);
}

#[test]
fn what_begins_late_is_spread_from_then_on() {
    let fleet = fleet(&["db-1"]);
    let now: Timestamp = "2026-11-27T20:00:00Z".parse().unwrap();
    let text = Plan::parse(WEEKLY).unwrap();
    let late = plan(&text, &fleet, Start::late(slot(), now), &BTreeMap::new())
        .hosts
        .remove(0);
    assert!(late.not_before >= now);
    assert_eq!(late.start_by, now + SignedDuration::from_hours(8));
    let held = plan(&text, &fleet, Start::held(slot(), now), &BTreeMap::new())
        .hosts
        .remove(0);
    assert_eq!(held.start_by, slot() + SignedDuration::from_hours(8));
    let asked = plan(&text, &fleet, Start::now(now), &BTreeMap::new())
        .hosts
        .remove(0);
    assert_eq!(asked.not_before, now);
}
