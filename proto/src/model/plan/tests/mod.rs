mod errors;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::schedule::Missed;
use crate::model::units::Percent;
use crate::model::{CheckKind, DrillKind, Labels, SourceInfo, Work};

const LEAST: &str = "schema = 1\nname = \"a\"\ndrill = { kind = \"verify\" }\n";

fn plan(text: &str) -> Plan {
    Plan::parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn with(rest: &str) -> String {
    format!("{LEAST}{rest}")
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

fn source(name: &str, kind: &str) -> SourceInfo {
    SourceInfo {
        name: name.to_owned(),
        kind: kind.to_owned(),
        path: format!("/srv/{name}"),
        problem: None,
        damaged: false,
        configured: true,
    }
}

#[test]
fn the_sample_is_a_plan_and_says_what_it_means() {
    let sample = plan(SAMPLE);
    assert_eq!(sample.name, "weekly-restore");
    assert_eq!(sample.owner.as_deref(), Some("sre-data"));
    assert_eq!(sample.select.labels.to_string(), "env=prod,tier in (gold,silver)");
    assert_eq!(sample.exclude[0].until, Some(at("2027-01-01T00:00:00Z")));
    assert_eq!(sample.schedule.after.as_deref(), Some("nightly-snapshot"));
    assert_eq!(sample.schedule.jitter, Duration::from_secs(7_200));
    assert_eq!(sample.schedule.window, Some(Duration::from_secs(28_800)));
    assert_eq!(sample.schedule.missed, Missed::RunOnce);
    assert_eq!(
        sample.schedule.next_slot(at("2026-06-01T00:00:00Z")),
        Some(at("2026-06-07T03:00:00Z"))
    );
    let Action::Drill(drill) = &sample.action else {
        panic!("{:?}", sample.action);
    };
    assert_eq!(drill.kind, DrillKind::Restore);
    assert_eq!(drill.bytes_budget, Some(50 << 30));
    assert_eq!(drill.recall_tolerance, Some(0.02));
    assert_eq!(drill.hooks, ["smoke"]);
    assert_eq!(drill.loss, Some(crate::model::Loss::Deleted));
    let month = Some(Duration::from_secs(30 * 86_400));
    assert_eq!((drill.bytes_cycle, drill.content_cycle), (month, month));
    assert_eq!(sample.waves.stop_failed, Some(Percent(2.0)));
    assert_eq!(sample.limits.deadline, Duration::from_secs(14_400));
    assert_eq!(sample.limits.max_bytes, Some(20 << 40));
    assert_eq!(sample.text(), SAMPLE);
    assert_eq!(sample.hash(), hash_of(SAMPLE));
    assert_ne!(
        sample.hash(),
        hash_of(&SAMPLE.replace("retries = 1", "retries = 2"))
    );
}

#[test]
fn the_least_plan_covers_everything_when_somebody_asks() {
    let least = plan(LEAST);
    assert!(least.select.labels.is_all());
    assert_eq!(least.schedule, Schedule::on_demand());
    assert_eq!(least.limits, Limits::default());
    assert_eq!(least.waves, Waves::default());
}

#[test]
fn a_plan_covers_what_its_selectors_and_exclusions_say() {
    let text = r#"
schema = 1
name = "nightly"
select = { labels = "env=prod", sources = ["memory", "aud*"] }
exclude = [ { host = "db-7", reason = "OPS-1", by = "ana", until = "2026-06-30" } ]
drill = { kind = "snapshot" }
"#;
    let plan = plan(text);
    let (prod, dev) = (Labels::parse(["env=prod"]).unwrap(), Labels::default());
    let sources = [
        source("memory/a", "lancedb"),
        source("memory/b", "lancedb"),
        source("memoryx", "lancedb"),
        source("audit", "audit-log"),
        SourceInfo {
            configured: false,
            ..source("audit-found", "audit-log")
        },
    ];
    let (one, seven) = (host("db-1"), host("db-7"));
    let now = at("2026-06-30T23:59:59Z");
    let covers = |host, labels, sources| {
        plan.covers(
            Member {
                host,
                labels,
                sources,
            },
            now,
        )
    };
    assert_eq!(covers(&one, &dev, Some(&sources)), Coverage::Elsewhere);
    let part = covers(&one, &prod, Some(&sources));
    assert_eq!(part.sources(), ["memory/a", "memory/b", "audit"]);
    let Work::Snapshot(work) = plan.work_for(&one, &part, &one) else {
        panic!("a snapshot");
    };
    assert_eq!(work.sources, ["memory/a", "memory/b", "audit"]);
    assert_eq!(work.reason.as_deref(), Some("plan nightly"));
    assert_eq!(
        covers(&seven, &prod, Some(&sources)),
        Coverage::Excluded {
            reason: "OPS-1 (ana, until 2026-07-01T00:00:00Z)".to_owned(),
            by_name: true,
        }
    );
    let later = Member {
        host: &seven,
        labels: &prod,
        sources: Some(&sources),
    };
    assert!(plan.covers(later, at("2026-07-01T00:00:00Z")).is_covered());
    for (known, reason) in [
        (None, "has not said yet"),
        (Some(&sources[2..3]), "no source that `memory, aud*` names"),
    ] {
        let coverage = covers(&one, &prod, known);
        assert!(format!("{coverage:?}").contains(reason), "{coverage:?}");
    }
}

#[test]
fn a_plan_for_all_sources_names_none_so_that_new_ones_belong_to_it() {
    let plan = plan(&LEAST.replace("verify", "check-audit-log"));
    assert_eq!(plan.action, Action::Check(CheckKind::AuditLog));
    let labels = Labels::default();
    let one = host("db-1");
    let sources = [source("memory", "lancedb"), source("audit", "audit-log")];
    let member = |sources| Member {
        host: &one,
        labels: &labels,
        sources,
    };
    let whole = plan.covers(member(Some(&sources)), at("2026-06-30T00:00:00Z"));
    assert_eq!(
        whole,
        Coverage::Whole {
            sources: vec!["audit".to_owned()]
        }
    );
    let Work::Check(work) = plan.work_for(&one, &whole, &one) else {
        panic!("a check");
    };
    assert!(work.sources.is_empty());
    assert!(plan.covers(member(None), at("2026-06-30T00:00:00Z")).is_covered());
    let none = plan.covers(member(Some(&sources[..1])), at("2026-06-30T00:00:00Z"));
    assert!(
        format!("{none:?}").contains("no source of kind audit-log"),
        "{none:?}"
    );
}

#[test]
fn another_host_rehearses_the_loss_of_this_one_always_the_same() {
    let text = LEAST.replace(
        "kind = \"verify\"",
        "kind = \"restore\", on = \"role=drill-runner\"",
    );
    let plan = plan(&text);
    let slot = at("2026-06-07T03:00:00Z");
    let runners: Vec<HostName> = (0..4).map(|n| host(&format!("runner-{n}"))).collect();
    let mut chosen = BTreeSet::new();
    for n in 0..50 {
        let lost = host(&format!("db-{n}"));
        let runner = plan.runner(slot, &lost, &runners).unwrap();
        let backwards = plan.runner(slot, &lost, runners.iter().rev()).unwrap();
        assert_eq!(runner, backwards);
        chosen.insert(runner.clone());
    }
    assert_eq!(chosen.len(), runners.len());
    // A runner that is itself rehearsed does not rehearse itself while there is another.
    assert_ne!(plan.runner(slot, &runners[0], &runners[..2]), Some(&runners[0]));
    assert_eq!(plan.runner(slot, &runners[0], &runners[..1]), Some(&runners[0]));
    assert_eq!(plan.runner(slot, &runners[0], []), None);
    let lost = host("db-1");
    let Work::Drill(work) = plan.work_for(&lost, &Coverage::Whole { sources: Vec::new() }, &runners[0])
    else {
        panic!("a drill");
    };
    assert_eq!(work.from_host, Some(lost));
}

#[test]
fn only_what_needs_nobody_else_goes_on_offline() {
    for (kind, expected) in [
        ("kind = \"snapshot\"", true),
        ("kind = \"verify\"", true),
        ("kind = \"verify\", on = \"role=x\"", false),
        ("kind = \"restore\"", false),
        ("kind = \"check-vector-db\"", false),
    ] {
        let plan = plan(&LEAST.replace("kind = \"verify\"", kind));
        assert_eq!(plan.action.goes_on_offline(), expected, "{kind}");
    }
}

#[test]
fn waves_grow_to_everybody() {
    let waves = plan(SAMPLE).waves;
    assert_eq!(waves.ends(200), [1, 10, 200]);
    assert_eq!(waves.ends(10), [1, 10]);
    assert_eq!(waves.ends(1), [1]);
    assert!(waves.ends(0).is_empty());
    let of = |index| waves.wave_of(index, 200);
    assert_eq!([of(0), of(1), of(9), of(10), of(199)], [1, 2, 2, 3, 3]);
}

#[test]
fn a_run_stops_when_more_than_the_threshold_is_bad() {
    let waves = plan(SAMPLE).waves;
    let tally = |failed, inconclusive| Tally {
        asked: 100,
        failed,
        inconclusive,
    };
    assert_eq!(waves.stop(tally(2, 20)), None);
    let failed = waves.stop(tally(3, 0)).unwrap();
    assert!(
        failed.starts_with("3 of 100 asked hosts failed: more than 2 %"),
        "{failed}"
    );
    assert!(waves.stop(tally(0, 21)).unwrap().contains("inconclusive"));
    assert_eq!(Waves::default().stop(tally(100, 0)), None);
}

#[test]
fn the_order_of_hosts_changes_from_slot_to_slot() {
    let plan = plan(LEAST);
    let order = |slot: &str| {
        let mut hosts: Vec<HostName> = (0..20).map(|n| host(&format!("db-{n}"))).collect();
        hosts.sort_by_key(|host| plan.rank(at(slot), host));
        hosts
    };
    assert_eq!(order("2026-06-07T03:00:00Z"), order("2026-06-07T03:00:00Z"));
    assert_ne!(order("2026-06-07T03:00:00Z"), order("2026-06-14T03:00:00Z"));
}

proptest! {
    #[test]
    fn every_host_is_in_one_wave(
        sizes in prop::collection::vec(prop_oneof![(1_u32..50).prop_map(WaveSize::Hosts), (0.1_f64..100.0).prop_map(|share| WaveSize::Share(Percent(share)))], 0..6),
        hosts in 1_u32..500,
    ) {
        let waves = Waves { sizes, ..Waves::default() };
        let ends = waves.ends(hosts);
        prop_assert!(ends.is_sorted_by(|before, after| before < after));
        prop_assert_eq!(ends.last(), Some(&hosts));
        let mut last = 1;
        for index in 0..hosts {
            let wave = waves.wave_of(index, hosts);
            prop_assert!(wave == last || wave == last + 1);
            last = wave;
        }
        prop_assert_eq!(last as usize, ends.len());
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        drop(Plan::parse(&text));
    }

    #[test]
    fn no_damaged_sample_panics(at in 0..SAMPLE.len(), with in "[\\[\\]{}=\",.#a-z0-9\n]{0,3}") {
        let mut text = SAMPLE.to_owned();
        text.replace_range(at..at + 1, &with);
        drop(Plan::parse(&text));
    }
}
