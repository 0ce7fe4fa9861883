use super::super::dispatch::Caps;
use super::super::dispatcher::Dispatcher;
use super::super::driver::Reconciler as _;
use super::super::scheduler::Scheduler;
use super::super::testing::{Bench, host};
use super::*;
use dr_proto::model::Labels;
use dr_proto::model::expected::ExpectedHost;

const NIGHTLY: &str = r#"
schema = 1
name = "nightly"
schedule = { cron = "0 3 * * *", timezone = "UTC", window = "4h" }
drill = { kind = "snapshot" }
"#;

async fn kinds(bench: &Bench) -> Vec<&'static str> {
    concerns(bench)
        .await
        .into_iter()
        .map(|concern| concern.kind)
        .collect()
}

async fn concerns(bench: &Bench) -> Vec<Concern> {
    let connected = super::super::gateway::Gateway::connected(&*bench.gateway);
    let around = Surroundings {
        connected: &connected,
        readiness: &[],
        lost_after: Duration::from_secs(90),
        max_clock_skew: Duration::from_secs(30),
        missing_after: Duration::from_secs(2 * 3_600),
    };
    look(&bench.store, &around).await.unwrap()
}

#[tokio::test]
async fn a_slot_is_overdue_whatever_the_scheduler_says_of_itself() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.clock.set("2026-11-26T03:59:00Z");
    assert!(kinds(&bench).await.is_empty());
    bench.clock.set("2026-11-26T04:01:00Z");
    let found = concerns(&bench).await;
    assert_eq!(found[0].kind, "plan_overdue");
    assert!(
        found[0].message.contains("was due at 2026-11-26T03:00:00Z"),
        "{}",
        found[0].message
    );
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    assert!(kinds(&bench).await.is_empty());
}

#[tokio::test]
async fn what_is_suspended_is_not_overdue_until_that_ends() {
    for scope in ["fleet", "host=db-1", "env=prod"] {
        let bench = Bench::new().await;
        bench.attach("db-1", &["env=prod"]).await;
        bench.apply(NIGHTLY).await;
        bench.clock.set("2026-11-26T02:00:00Z");
        let lasts = jiff::SignedDuration::from_hours(3);
        let suspensions = bench.store.suspensions();
        suspensions
            .begin(scope, "a new disk", lasts, "ana")
            .await
            .unwrap();
        // No scheduler runs: the slot of 03:00 is not started.
        bench.clock.set("2026-11-26T04:59:00Z");
        assert!(kinds(&bench).await.is_empty(), "{scope}");
        bench.clock.set("2026-11-26T05:01:00Z");
        assert_eq!(kinds(&bench).await, ["plan_overdue"], "after {scope} goes on");
    }
}

#[tokio::test]
async fn a_plan_is_overdue_while_only_some_of_its_hosts_are_suspended() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.attach("db-2", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.clock.set("2026-11-26T04:01:00Z");
    let lasts = jiff::SignedDuration::from_hours(3);
    let suspensions = bench.store.suspensions();
    suspensions
        .begin("host=db-2", "a new disk", lasts, "ana")
        .await
        .unwrap();
    assert_eq!(kinds(&bench).await, ["plan_overdue"]);
}

#[tokio::test]
async fn a_task_is_overdue_from_the_end_of_its_window_unless_its_host_is_suspended() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.clock.set("2026-11-26T03:00:00Z");
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    let overdue = async || {
        let open = bench.store.tasks().open().await.unwrap();
        let fleet = super::super::FleetState::read(&bench.store).await.unwrap();
        oldest_overdue(&open, &fleet, bench.now())["queued"]
    };
    bench.clock.set("2026-11-26T06:59:00Z");
    assert!(overdue().await.abs() < f64::EPSILON, "its window is open");
    bench.clock.set("2026-11-26T07:01:00Z");
    assert!((overdue().await - 60.0).abs() < f64::EPSILON);
    let hour = jiff::SignedDuration::from_hours(1);
    let suspensions = bench.store.suspensions();
    suspensions.begin("fleet", "an audit", hour, "ana").await.unwrap();
    assert!(overdue().await.abs() < f64::EPSILON, "suspended");
    bench.clock.set("2026-11-26T08:02:00Z");
    assert!(overdue().await > 3_600.0, "and back when that has ended");
}

#[tokio::test]
async fn work_that_nobody_ends_is_stuck() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench
        .apply(&format!("{NIGHTLY}limits = {{ deadline = \"1h\" }}\n"))
        .await;
    bench.clock.set("2026-11-26T03:00:00Z");
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    let caps = Caps {
        tasks: 1,
        per_host: 1,
        per_label: std::collections::BTreeMap::new(),
    };
    let epoch = bench.store.epochs().begin("0.1.0").await.unwrap().number;
    Dispatcher::new(bench.store.clone(), bench.gateway.clone(), caps, epoch)
        .pass()
        .await
        .unwrap();
    bench.clock.set("2026-11-26T04:10:00Z");
    assert!(kinds(&bench).await.is_empty());
    bench.clock.set("2026-11-26T04:16:00Z");
    assert_eq!(kinds(&bench).await, ["task_stuck"]);
    let task = bench.store.tasks().open().await.unwrap().remove(0);
    bench.answer(&task, TaskState::Passed).await;
    bench.clock.pass(16 * 60);
    assert_eq!(kinds(&bench).await, ["run_stuck"]);
}

#[tokio::test]
async fn a_reconciler_that_stopped_is_missed_also_if_it_never_succeeded() {
    let bench = Bench::new().await;
    bench
        .store
        .reconcilers()
        .register(&["reaper", "settler"])
        .await
        .unwrap();
    bench.store.reconcilers().succeeded("settler", "").await.unwrap();
    bench.clock.pass(601);
    bench.store.reconcilers().succeeded("settler", "").await.unwrap();
    let found = concerns(&bench).await;
    assert_eq!(found.len(), 1);
    assert!(
        found[0].message.starts_with("reaper has not succeeded since"),
        "{}",
        found[0].message
    );
    assert_eq!(found[0].severity, Severity::Page);
}

#[tokio::test]
async fn lost_agents_are_an_outage_or_a_host() {
    let bench = Bench::new().await;
    for index in 0..30 {
        bench.attach(&format!("db-{index}"), &[]).await;
    }
    bench.gateway.disconnect("db-7");
    bench.clock.pass(91);
    assert!(
        kinds(&bench).await.is_empty(),
        "one of thirty is no outage, and not lost for a day"
    );
    bench.gateway.disconnect("db-8");
    assert_eq!(kinds(&bench).await, ["agents_lost"]);
    bench.gateway.connect("db-8");
    bench.clock.pass(86_400);
    let lost: Vec<_> = concerns(&bench)
        .await
        .into_iter()
        .filter(|concern| concern.kind == "agent_lost")
        .collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].host, Some(host("db-7")));
    assert!(lost[0].remedy.contains("drctl agent retire db-7"));
}

#[tokio::test]
async fn sources_that_no_plan_covers_are_named_after_a_day() {
    let bench = Bench::new().await;
    bench.attach("db-1", &["env=prod"]).await;
    bench
        .apply(&NIGHTLY.replace("schema = 1", "schema = 1\nselect = { labels = \"env=test\" }"))
        .await;
    let uncovered = async || kinds(&bench).await.contains(&"source_uncovered");
    assert!(!uncovered().await);
    bench.clock.pass(86_401);
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    assert!(uncovered().await);
    bench.apply(&NIGHTLY.replace("nightly", "all")).await;
    assert!(!uncovered().await);
}

#[tokio::test]
async fn the_worst_comes_first() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.gateway.disconnect("db-1");
    bench.clock.pass(2 * 86_400);
    let found = concerns(&bench).await;
    let severities: Vec<Severity> = found.iter().map(|concern| concern.severity).collect();
    assert!(severities.is_sorted(), "{found:?}");
    assert_eq!(severities.first(), Some(&Severity::Page));
    assert!(found.iter().all(|concern| !concern.remedy.is_empty()));
}

#[tokio::test]
async fn a_host_that_never_answers_needs_somebody_and_one_answer_ends_that() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    let ends = [
        TaskState::Inconclusive,
        TaskState::Refused,
        TaskState::Inconclusive,
        TaskState::Failed,
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let id = format!("r-{index}");
        let ask = super::super::scheduler::Ask {
            request_id: &id,
            by: "ana",
            traceparent: None,
        };
        bench.clock.pass(60);
        let run = super::super::start_plan(&bench.store, "nightly", ask)
            .await
            .unwrap();
        let task = bench.store.tasks().of_run(run.id).await.unwrap().remove(0);
        bench.store.tasks().offer(&[task.id], 1).await.unwrap();
        let task = bench.store.tasks().get(task.id).await.unwrap().unwrap();
        bench.answer(&task, end).await;
        bench.store.runs().settle(run.id).await.unwrap();
        let wanted: &[&str] = if index == 2 {
            &["inconclusive", "plan_not_passed"]
        } else {
            &["plan_not_passed"]
        };
        assert_eq!(kinds(&bench).await, wanted, "after {index}");
    }
}

#[tokio::test]
async fn objectives_that_are_not_met_say_how_far_and_what_to_do() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    let objective = super::super::objectives::Objective {
        select: dr_proto::model::Selector::all(),
        rpo: Some(Duration::from_secs(3_600)),
        rto: None,
        proof: Some(dr_proto::model::ProofLevel::Restored),
        proof_age: Some(Duration::from_secs(86_400)),
    };
    bench.clock.pass(2 * 86_400);
    bench.inventory("db-1", &[7_200]).await;
    let ready = super::super::objectives::read(&bench.store, std::slice::from_ref(&objective))
        .await
        .unwrap();
    let told: Vec<_> = unready(&ready)
        .into_iter()
        .map(|concern| (concern.kind, concern.message))
        .collect();
    let stale = (
        "snapshot_stale",
        "the newest snapshot is 2h old, 1h are allowed".to_owned(),
    );
    let unproved = ("proof_stale", "no drill has passed at level restored".to_owned());
    assert_eq!(told, [stale, unproved]);
    // Mended: a gap of two hours is told for a week, and pages nobody.
    bench.inventory("db-1", &[60, 7_260]).await;
    let ready = super::super::objectives::read(&bench.store, &[objective])
        .await
        .unwrap();
    let told = unready(&ready).remove(0);
    assert_eq!((told.severity, told.kind), (Severity::Ticket, "snapshot_stale"));
}

#[tokio::test]
async fn hosts_that_should_be_there_are_missed_and_strangers_are_told() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.attach("db-9", &[]).await;
    let list = |names: &[&str]| -> Vec<ExpectedHost> {
        let expected = |name: &&str| ExpectedHost {
            host: host(name),
            labels: Labels::default(),
        };
        names.iter().map(expected).collect()
    };
    let expected = bench.store.expected();
    let done = expected.replace(&list(&["db-1", "db-2"]), "ana").await.unwrap();
    assert_eq!((done.added, done.removed), (2, 0));
    let found = concerns(&bench).await;
    let kinds_of = |found: &[Concern]| -> Vec<(&'static str, String)> {
        found
            .iter()
            .filter(|concern| concern.kind.starts_with("host_"))
            .map(|concern| (concern.kind, concern.host.clone().expect("a host").to_string()))
            .collect()
    };
    let stranger = ("host_unexpected", "db-9".to_owned());
    assert_eq!(
        kinds_of(&found),
        std::slice::from_ref(&stranger),
        "db-2 has two hours to come"
    );
    bench.clock.pass(2 * 3_600 + 1);
    let missing = |name: &str| ("host_missing", name.to_owned());
    assert_eq!(
        kinds_of(&concerns(&bench).await),
        [missing("db-2"), stranger.clone()]
    );
    // A host that is handed over again is missed since it was first named; db-1 is connected and not missed.
    let done = expected
        .replace(&list(&["db-1", "db-2", "db-9"]), "ana")
        .await
        .unwrap();
    assert_eq!((done.added, done.removed), (1, 0));
    assert_eq!(kinds_of(&concerns(&bench).await), [missing("db-2")]);
    bench.gateway.disconnect("db-1");
    assert_eq!(
        kinds_of(&concerns(&bench).await),
        [missing("db-1"), missing("db-2")]
    );
    let done = expected.replace(&list(&["db-9"]), "ana").await.unwrap();
    assert_eq!((done.added, done.removed), (0, 2));
    assert_eq!(
        kinds_of(&concerns(&bench).await),
        [("host_unexpected", "db-1".to_owned())]
    );
}

#[tokio::test]
async fn a_plan_that_finds_no_host_is_told() {
    let bench = Bench::new().await;
    bench.attach("db-1", &["env=prod"]).await;
    let select = |labels: &str| format!("{NIGHTLY}select = {{ labels = \"{labels}\" }}\n");
    bench.apply(&select("env=prod")).await;
    assert!(kinds(&bench).await.is_empty());
    bench.apply(&select("env=prdo")).await;
    let found = concerns(&bench).await;
    assert_eq!(found[0].kind, "plan_covers_nobody");
    assert!(found[0].message.contains("env=prdo"), "{}", found[0].message);
    let exclude = r#"exclude = [ { host = "db-1", reason = "OPS-1" } ]"#;
    bench.apply(&format!("{}{exclude}\n", select("env=prod"))).await;
    let found = concerns(&bench).await;
    assert_eq!(found[0].kind, "plan_covers_nobody");
    assert!(found[0].message.contains("OPS-1"), "{}", found[0].message);
}

#[tokio::test]
async fn a_plan_that_waits_for_nothing_or_for_itself_is_told() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    let after = |name: &str, before: &str| {
        format!(
            "schema = 1\nname = \"{name}\"\nschedule = {{ after = \"{before}\" }}\ndrill = {{ kind = \"verify\" }}\n"
        )
    };
    bench.apply(&after("a", "b")).await;
    let found = concerns(&bench).await;
    assert_eq!(found[0].kind, "plan_never_due");
    assert!(
        found[0].message.contains("`b`, which is not in force"),
        "{}",
        found[0].message
    );
    bench.apply(&after("b", "a")).await;
    assert_eq!(kinds(&bench).await, ["plan_never_due", "plan_never_due"]);
    bench.apply(&after("b", "nightly")).await;
    bench.apply(NIGHTLY).await;
    assert!(kinds(&bench).await.is_empty());
    for name in ["a", "b", "nightly"] {
        bench.store.plans().enable(name, false, "ana").await.unwrap();
    }
    assert_eq!(kinds(&bench).await, ["no_plan_enabled"]);
}

#[tokio::test]
async fn a_run_that_asked_nobody_or_too_few_is_told_until_one_passes() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench
        .apply(&format!("{NIGHTLY}limits = {{ max_bytes = \"1 KiB\" }}\n").replace("snapshot", "restore"))
        .await;
    bench.inventory("db-1", &[10]).await;
    bench.clock.set("2026-11-26T03:00:00Z");
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    assert!(kinds(&bench).await.is_empty(), "1,000 bytes fit: it runs");
    bench
        .apply(&format!("{NIGHTLY}limits = {{ max_bytes = \"1 B\" }}\n").replace("snapshot", "restore"))
        .await;
    bench.clock.set("2026-11-27T03:00:00Z");
    Scheduler::new(bench.store.clone()).pass().await.unwrap();
    let found = concerns(&bench).await;
    let told = found.iter().find(|concern| concern.kind == "plan_not_passed");
    let told = told.unwrap_or_else(|| panic!("{found:?}"));
    assert!(told.message.contains("limits.max_bytes"), "{}", told.message);
}

#[tokio::test]
async fn a_host_without_sources_and_a_source_that_left_are_told() {
    let bench = Bench::new().await;
    bench.attach("db-1", &["role=db"]).await;
    bench.inventory("db-1", &[60]).await;
    assert!(kinds(&bench).await.is_empty());
    let left = |sources: &[&str]| dr_proto::model::Inventory {
        sources: sources
            .iter()
            .map(|name| super::super::testing::source(name))
            .collect(),
        // Not listed: what is known of snapshots stays.
        snapshots_problem: Some("away".to_owned()),
        ..dr_proto::model::Inventory::default()
    };
    let inventories = bench.store.inventories();
    inventories
        .replace(&host("db-1"), &left(&["other"]))
        .await
        .unwrap();
    let found = concerns(&bench).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].kind, found[0].source.as_deref()),
        ("source_gone", Some("memory"))
    );
    bench.clock.pass(31 * 86_400);
    assert!(!kinds(&bench).await.contains(&"source_gone"));
    inventories.replace(&host("db-1"), &left(&[])).await.unwrap();
    assert!(kinds(&bench).await.contains(&"host_unprotected"));
    // One that rehearses for others needs no source of its own.
    bench
        .apply(&NIGHTLY.replace(r#"kind = "snapshot""#, r#"kind = "restore", on = "role=db""#))
        .await;
    assert!(!kinds(&bench).await.contains(&"host_unprotected"));
}
