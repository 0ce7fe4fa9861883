use std::sync::Arc;

use super::super::testing::{Bench, HandClock, host, open};
use super::*;

const NIGHTLY: &str = r#"
schema = 1
name = "nightly"
schedule = { cron = "0 3 * * *", timezone = "UTC", window = "4h" }
drill = { kind = "snapshot" }
"#;

const AFTER: &str = r#"
schema = 1
name = "verify"
schedule = { cron = "30 3 * * *", timezone = "UTC", window = "4h", after = "nightly" }
drill = { kind = "verify" }
"#;

const FOLLOW: &str = r#"
schema = 1
name = "follow"
schedule = { after = "nightly" }
drill = { kind = "verify" }
"#;

async fn pass(bench: &Bench) -> Scheduled {
    Scheduler::new(bench.store.clone()).pass().await.unwrap()
}

async fn newest(bench: &Bench, plan: &str) -> RunRecord {
    bench.store.runs().newest_of(plan).await.unwrap().unwrap()
}

/// Hands out and ends every task of the plan's newest run, and settles it.
async fn finish(bench: &Bench, plan: &str, state: impl Fn(&str) -> TaskState) -> RunRecord {
    let run = newest(bench, plan).await;
    for task in bench.store.tasks().of_run(run.id).await.unwrap() {
        bench.store.tasks().offer(&[task.id], 1).await.unwrap();
        let task = bench.store.tasks().get(task.id).await.unwrap().unwrap();
        bench.answer(&task, state(task.host.as_str())).await;
    }
    bench.store.runs().settle(run.id).await.unwrap().unwrap().run
}

#[tokio::test]
async fn a_slot_that_is_due_becomes_one_run() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.attach("db-2", &[]).await;
    bench.apply(NIGHTLY).await;
    assert_eq!(pass(&bench).await.runs, 0);
    bench.clock.set("2026-11-26T03:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    assert_eq!(pass(&bench).await.runs, 0, "the second pass finds nothing to do");
    let run = newest(&bench, "nightly").await;
    assert_eq!(run.slot.unwrap().at, bench.now());
    assert_eq!(run.tasks.get(&TaskState::Queued), Some(&2));
}

#[tokio::test]
async fn a_plan_does_not_make_up_for_slots_from_before_it_was_applied() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.clock.set("2026-11-26T03:30:00Z");
    bench.apply(NIGHTLY).await;
    assert_eq!(pass(&bench).await.runs, 0);
}

#[tokio::test]
async fn a_missed_slot_is_run_once_or_explained() {
    for (missed, tasks) in [("run-once", true), ("skip", false)] {
        let bench = Bench::new().await;
        bench.attach("db-1", &[]).await;
        bench
            .apply(&NIGHTLY.replace(
                r#"window = "4h""#,
                &format!(r#"window = "4h", missed = "{missed}""#),
            ))
            .await;
        // Nobody was there for three slots.
        bench.clock.set("2026-11-28T12:00:00Z");
        assert_eq!(pass(&bench).await.runs, 1, "{missed}");
        assert_eq!(pass(&bench).await.runs, 0, "{missed}");
        let run = newest(&bench, "nightly").await;
        assert_eq!(
            run.slot.as_ref().unwrap().at,
            "2026-11-28T03:00:00Z".parse().unwrap()
        );
        assert_eq!(run.tasks.is_empty(), !tasks, "{missed}");
        assert!(
            run.explanation
                .contains("slots passed while no coordinator could start them"),
            "{}",
            run.explanation
        );
    }
}

#[tokio::test]
async fn days_without_or_with_two_such_times_have_one_slot_each() {
    // Berlin skips 02:30 on 29 March 2026 and has it twice on 25 October 2026.
    for (day_before, expected) in [("2026-03-27T12:00:00Z", 5), ("2026-10-23T12:00:00Z", 5)] {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::at(day_before);
        let store = open(folder.path(), clock.clone()).await;
        let bench = Bench {
            folder,
            clock,
            store,
            gateway: Arc::default(),
        };
        bench.attach("db-1", &[]).await;
        bench
            .apply(
                &NIGHTLY
                    .replace("0 3 * * *", "30 2 * * *")
                    .replace("UTC", "Europe/Berlin"),
            )
            .await;
        let mut runs = 0;
        for _ in 0..5 * 24 * 2 {
            bench.clock.pass(1_800);
            runs += pass(&bench).await.runs;
        }
        assert_eq!(runs, expected, "{day_before}");
    }
}

#[tokio::test]
async fn a_disabled_plan_rests_and_goes_on_from_when_it_is_enabled() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.store.plans().enable("nightly", false, "ana").await.unwrap();
    bench.clock.set("2026-11-26T04:00:00Z");
    assert_eq!(pass(&bench).await, Scheduled::default());
    bench.store.plans().enable("nightly", true, "ana").await.unwrap();
    assert_eq!(pass(&bench).await.runs, 0);
    bench.clock.set("2026-11-27T03:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
}

#[tokio::test]
async fn a_plan_that_goes_after_another_waits_and_takes_the_hosts_that_passed() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.attach("db-2", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.apply(AFTER).await;
    bench.clock.set("2026-11-26T03:30:00Z");
    let done = pass(&bench).await;
    assert_eq!((done.runs, done.waiting.len()), (1, 1));
    let waiting = newest(&bench, "verify").await;
    assert_eq!(waiting.state, RunState::Pending);
    assert!(
        waiting.explanation.starts_with("waits for run "),
        "{}",
        waiting.explanation
    );
    finish(&bench, "nightly", |name| {
        if name == "db-1" {
            TaskState::Passed
        } else {
            TaskState::Failed
        }
    })
    .await;
    bench.clock.set("2026-11-26T04:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    let run = newest(&bench, "verify").await;
    assert_eq!((run.id, run.state), (waiting.id, RunState::Running));
    let tasks = bench.store.tasks().of_run(run.id).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].host, host("db-1"));
    assert_eq!(
        tasks[0].start_by.unwrap(),
        "2026-11-26T07:30:00Z".parse().unwrap(),
        "its own window"
    );
    assert_eq!(run.excluded[0].host, host("db-2"));
    assert!(
        run.excluded[0].reason.starts_with("`nightly` ended failed there"),
        "{}",
        run.excluded[0].reason
    );
}

#[tokio::test]
async fn a_plan_whose_predecessor_takes_too_long_is_explained() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.apply(AFTER).await;
    bench.clock.set("2026-11-26T03:30:00Z");
    pass(&bench).await;
    bench.clock.set("2026-11-26T07:30:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    let run = newest(&bench, "verify").await;
    assert_eq!(run.state, RunState::Inconclusive);
    assert!(
        run.explanation.ends_with("and the window is over"),
        "{}",
        run.explanation
    );
}

#[tokio::test]
async fn after_an_outage_a_plan_still_goes_after_the_other() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.apply(AFTER).await;
    // Nobody was there while the windows of both were open.
    bench.clock.set("2026-11-26T12:00:00Z");
    let done = pass(&bench).await;
    assert_eq!((done.runs, done.waiting.len()), (1, 1));
    bench.clock.pass(600);
    assert_eq!(pass(&bench).await.waiting.len(), 1);
    finish(&bench, "nightly", |_| TaskState::Passed).await;
    assert_eq!(pass(&bench).await.runs, 1);
    assert_eq!(newest(&bench, "verify").await.state, RunState::Running);
}

#[tokio::test]
async fn a_plan_after_one_that_is_not_in_force_is_explained() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(AFTER).await;
    bench.clock.set("2026-11-26T03:30:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    let run = newest(&bench, "verify").await;
    assert_eq!(run.explanation, "`nightly`, which goes before, is not in force");
}

#[tokio::test]
async fn a_waiting_run_ends_when_its_plan_is_deleted() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.apply(AFTER).await;
    bench.clock.set("2026-11-26T03:30:00Z");
    pass(&bench).await;
    bench.store.plans().delete("verify", "ana").await.unwrap();
    assert_eq!(pass(&bench).await.given_up, 1);
    let run = newest(&bench, "verify").await;
    assert_eq!(run.state, RunState::Inconclusive);
    assert!(
        run.explanation.contains("not in force any more"),
        "{}",
        run.explanation
    );
}

#[tokio::test]
async fn a_plan_without_a_clock_follows_every_run_of_the_other() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.apply(FOLLOW).await;
    for (day, due) in [("2026-11-26", "03:00"), ("2026-11-27", "03:00")] {
        bench.clock.set(&format!("{day}T{due}:00Z"));
        pass(&bench).await;
        finish(&bench, "nightly", |_| TaskState::Passed).await;
        bench.clock.pass(60);
        assert_eq!(pass(&bench).await.runs, 1, "{day}");
        assert_eq!(pass(&bench).await.runs, 0, "{day}");
        let run = newest(&bench, "follow").await;
        assert_eq!(run.slot.unwrap().at, format!("{day}T{due}:00Z").parse().unwrap());
    }
}

#[tokio::test]
async fn one_plan_that_cannot_be_read_keeps_no_other_from_its_slot() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    let broken = dr_store::plans::NewPlan {
        name: "a-broken-one",
        text: "schema = 99",
        hash: "x",
        expected_hash: None,
        by: "ana",
    };
    bench.store.plans().apply(&broken).await.unwrap();
    bench.clock.set("2026-11-26T03:00:00Z");
    let error = Scheduler::new(bench.store.clone()).pass().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("1 of 2 failed; the first: plan `a-broken-one`"),
        "{error}"
    );
    assert_eq!(
        newest(&bench, "nightly").await.tasks.get(&TaskState::Queued),
        Some(&1)
    );
}

#[tokio::test]
async fn a_preview_is_what_the_run_then_does() {
    let bench = Bench::new().await;
    for name in ["db-1", "db-2", "db-3", "db-4"] {
        bench.attach(name, &[]).await;
    }
    let plan = bench
        .apply(
            &NIGHTLY
                .replace(r#"window = "4h""#, r#"window = "4h", jitter = "1h""#)
                .replace("[drill]", ""),
        )
        .await;
    let slot = plan.schedule.next_slot(bench.now()).unwrap();
    let fleet = FleetState::read(&bench.store).await.unwrap();
    let preview = planner::plan(&plan, &fleet, Start::on_time(slot), &BTreeMap::new());
    bench.clock.set("2026-11-26T03:00:07Z");
    pass(&bench).await;
    let run = newest(&bench, "nightly").await;
    for told in &preview.hosts {
        let tasks = bench.store.tasks().of_run(run.id).await.unwrap();
        let made = tasks.iter().find(|task| task.host == told.host).unwrap();
        assert_eq!(
            (&made.agent, made.wave, &made.work),
            (&told.on, told.wave, &told.work)
        );
        assert_eq!(
            (made.not_before, made.start_by),
            (told.not_before, Some(told.start_by))
        );
    }
    assert_eq!(run.tasks.get(&TaskState::Queued), Some(&4));
}

#[tokio::test]
async fn a_plan_is_started_by_hand_once_a_request_also_while_it_is_disabled() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.store.plans().enable("nightly", false, "ana").await.unwrap();
    let ask = Ask {
        request_id: "r-1",
        by: "ana",
        traceparent: None,
    };
    let first = start_plan(&bench.store, "nightly", ask).await.unwrap();
    bench.clock.pass(5);
    let again = start_plan(&bench.store, "nightly", ask).await.unwrap();
    assert_eq!(first.id, again.id);
    assert_eq!(first.requested_by, "ana");
    assert_eq!(first.tasks.get(&TaskState::Queued), Some(&1));
    assert!(start_plan(&bench.store, "weekly", ask).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_on_one_file_never_start_a_slot_twice() {
    let bench = Bench::new().await;
    for name in ["db-1", "db-2"] {
        bench.attach(name, &[]).await;
    }
    bench
        .apply(&NIGHTLY.replace("0 3 * * *", "* * * * *").replace("4h", "1m"))
        .await;
    let other = bench.again().await;
    for round in 0..40 {
        bench.clock.pass(60);
        let (one, two) = (Scheduler::new(bench.store.clone()), Scheduler::new(other.clone()));
        let (one, two) = tokio::join!(
            tokio::spawn(async move { one.pass().await.unwrap().runs }),
            tokio::spawn(async move { two.pass().await.unwrap().runs }),
        );
        assert_eq!(one.unwrap() + two.unwrap(), 1, "round {round}");
    }
    let (from, to) = (Timestamp::UNIX_EPOCH, bench.now());
    let runs = bench
        .store
        .runs()
        .of_plan_between("nightly", from, to)
        .await
        .unwrap();
    assert_eq!(runs.len(), 40);
    assert!(runs.iter().all(|run| run.tasks.values().sum::<u32>() == 2));
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_costs_no_slot() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.apply(NIGHTLY).await;
    bench.apply(FOLLOW).await;
    bench.clock.set("2026-11-26T03:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    finish(&bench, "nightly", |_| TaskState::Passed).await;
    assert_eq!(pass(&bench).await.runs, 1, "what follows");
    bench.clock.set("2031-01-01T03:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    bench.clock.set("2026-11-26T03:10:00Z");
    assert_eq!(pass(&bench).await.runs, 0, "the slot of today was run");
    bench.clock.set("2026-11-27T03:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
    let slot: Timestamp = "2026-11-27T03:00:00Z".parse().unwrap();
    let runs = bench.store.runs();
    assert!(runs.of_slot("nightly", slot).await.unwrap().is_some());
}

#[tokio::test]
async fn a_plan_that_was_applied_by_a_clock_ahead_runs_and_is_missed() {
    let bench = Bench::new().await;
    bench.attach("db-1", &[]).await;
    bench.clock.set("2031-01-01T03:00:00Z");
    bench.apply(NIGHTLY).await;
    bench.clock.set("2026-11-26T02:30:00Z");
    assert_eq!(pass(&bench).await.runs, 0);
    bench.clock.set("2026-11-26T03:00:00Z");
    assert_eq!(pass(&bench).await.runs, 1);
}
