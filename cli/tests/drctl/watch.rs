//! Waiting for the end of runs: exit codes, broken streams, signals, files for build servers.

use dr_proto::v1::{self, RunState, TaskState};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tonic::Status;

use crate::machine::{Machine, end_of, finish, until};
use crate::samples::{self, RUN, TASK_1, TASK_2, drill, run_event, single, task, task_event};

fn check() -> v1::Work {
    v1::Work {
        kind: Some(v1::work::Kind::Check(v1::CheckWork {
            kind: v1::CheckKind::VectorDb.into(),
            sources: Vec::new(),
        })),
    }
}

/// A stream that tells of a run's end.
fn ends(state: RunState) -> Vec<Result<v1::RunEvent, Status>> {
    vec![Ok(run_event(RunState::Running)), Ok(run_event(state))]
}

#[tokio::test]
async fn the_worst_host_decides_the_exit_code() {
    let machine = Machine::new().await;
    for (task, run, code) in [
        (TaskState::Passed, RunState::Passed, 0),
        (TaskState::Failed, RunState::Failed, 1),
        (TaskState::Inconclusive, RunState::Inconclusive, 2),
        (TaskState::Expired, RunState::Inconclusive, 2),
        (TaskState::Partial, RunState::Partial, 3),
        (TaskState::Cancelled, RunState::Cancelled, 2),
        (TaskState::Refused, RunState::Inconclusive, 77),
    ] {
        let mut detail = single(drill(), "drill restore", task, run);
        detail.tasks[0].has_report = false;
        machine.script.run_is(detail);
        machine.script.watch(ends(run));
        machine
            .run(&["run", "start", "weekly", "--wait"])
            .await
            .ends(code)
            .says(RUN);
    }
}

#[tokio::test]
async fn a_run_over_the_fleet_is_shown_worst_first() {
    let machine = Machine::new().await;
    let failed = v1::Task {
        explanation: "content of memory differs from the cut".to_owned(),
        ..task(TASK_2, "db-2", TaskState::Failed)
    };
    machine.script.watch(vec![
        Ok(run_event(RunState::Running)),
        Ok(task_event(task(TASK_1, "db-1", TaskState::Running))),
        Ok(task_event(failed)),
        Ok(task_event(task(TASK_1, "db-1", TaskState::Passed))),
        Ok(run_event(RunState::Failed)),
    ]);
    let ran = machine.run(&["run", "watch", "0192"]).await.ends(1);
    insta::assert_snapshot!("watch.out", ran.out);
    insta::assert_snapshot!("watch.err", ran.err);
}

#[tokio::test]
async fn a_host_that_nobody_asked_is_named_and_no_green_case() {
    let machine = Machine::new().await;
    machine.script.watch(ends(RunState::Failed));
    let ran = machine
        .run(&["run", "start", "weekly", "--wait", "--junit", "junit.xml"])
        .await
        .ends(1);
    assert!(
        ran.out.contains("NOT ASKED: db-7: its agent was never here"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("left out by the plan: db-3: OPS-4411"),
        "{}",
        ran.out
    );
    let junit = std::fs::read_to_string(machine.path("junit.xml")).expect("a JUnit file");
    let suite = |name: &str| {
        let start = junit
            .find(&format!("<testsuite name=\"{name}\""))
            .expect("a suite");
        junit[start..].lines().next().expect("a line").to_owned()
    };
    assert!(suite("db-7").contains("errors=\"1\""), "{junit}");
    assert!(suite("db-3").contains("skipped=\"1\""), "{junit}");
    let json = machine
        .run(&["run", "show", "0192", "--output", "json"])
        .await
        .ends(0)
        .json();
    assert_eq!(json["left_out"][1]["host"], "db-7");
}

#[tokio::test]
async fn a_broken_stream_is_opened_again() {
    let machine = Machine::new().await;
    machine.script.watch(vec![
        Ok(run_event(RunState::Running)),
        Err(Status::unavailable("the coordinator restarts")),
    ]);
    // One that ends without an end of the run is broken too.
    machine.script.watch(vec![Ok(run_event(RunState::Running))]);
    machine.script.watch(ends(RunState::Failed));
    machine
        .run(&["run", "watch", "0192"])
        .await
        .ends(1)
        .says("the work goes on, trying again");
    let watches = machine.script.asked("watch_run");
    assert_eq!(watches.len(), 3, "{watches:?}");
}

#[tokio::test]
async fn a_coordinator_that_goes_away_before_its_first_answer_or_after_the_last_event_is_waited_for() {
    let machine = Machine::new().await;
    // More often than one question is repeated by itself.
    for _ in 0..5 {
        machine
            .script
            .refuse("get_run", Status::unavailable("the coordinator restarts"));
    }
    machine.script.watch(ends(RunState::Failed));
    machine
        .run(&["run", "watch", "0192"])
        .await
        .ends(1)
        .says("the work goes on, trying again");
    let machine = Machine::new().await;
    machine.script.refuse("get_run", Status::not_found("no such run"));
    machine.run(&["run", "watch", "0192"]).await.ends(66);
    assert_eq!(machine.script.asked("get_run").len(), 1, "an answer is an answer");
}

#[tokio::test]
async fn a_refused_watch_is_not_tried_again() {
    let machine = Machine::new().await;
    machine
        .script
        .refuse("watch_run", Status::permission_denied("not you"));
    machine
        .run(&["run", "watch", "0192"])
        .await
        .ends(77)
        .says("not you")
        .says(&format!("drctl run watch {RUN}"));
}

async fn begun(machine: &Machine, arguments: &[&str]) -> Child {
    let child = machine.command(arguments).spawn().expect("the command starts");
    until("the watch begins", || {
        machine.script.called().contains(&"watch_run")
    })
    .await;
    child
}

fn signal(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    kill_process(pid.expect("it runs"), signal).expect("signal");
}

#[tokio::test]
async fn a_signal_ends_the_watch_and_never_the_work() {
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let machine = Machine::new().await;
        let child = begun(&machine, &["run", "start", "weekly", "--wait"]).await;
        signal(&child, sent);
        end_of(child)
            .await
            .ends(code)
            .says(&format!("`drctl run watch {RUN}` comes back to it"));
        assert!(!machine.script.called().contains(&"cancel_run"));
    }
}

#[tokio::test]
async fn a_signal_cancels_the_work_where_that_was_asked_for() {
    let machine = Machine::new().await;
    machine.script.run_is(single(
        drill(),
        "drill restore",
        TaskState::Cancelled,
        RunState::Cancelled,
    ));
    let arguments = ["run", "start", "weekly", "--wait", "--cancel-on-interrupt"];
    // The first stream goes on until the signal comes.
    let child = begun(&machine, &arguments).await;
    machine.script.watch(ends(RunState::Cancelled));
    machine.script.report(report("drill", "{}"));
    signal(&child, Signal::INT);
    end_of(child).await.ends(130).says("Cancelling the work");
    assert!(machine.script.called().contains(&"cancel_run"));
}

#[tokio::test]
async fn a_wait_has_an_end_of_its_own() {
    let machine = Machine::new().await;
    machine
        .run(&["run", "start", "weekly", "--wait", "--wait-for", "1s"])
        .await
        .ends(2)
        .says("the work goes on");
    let ran = machine
        .run(&[
            "run",
            "start",
            "weekly",
            "--wait",
            "--wait-for",
            "1s",
            "--output",
            "json",
        ])
        .await
        .ends(2);
    assert_eq!(ran.json()["run_id"], RUN);
    assert_eq!(ran.json()["outcome"], "running");
}

fn report(kind: &str, document: &str) -> v1::ReportDocument {
    v1::ReportDocument {
        task: TASK_1.to_owned(),
        host: "db-1".to_owned(),
        kind: kind.to_owned(),
        document: document.as_bytes().to_vec(),
    }
}

const CHECKED: &str = r#"{
  "check": "vector-db", "verdict": "failed",
  "checked": [{
    "subject": "memory", "verdict": "failed", "figure": "3 tables",
    "findings": [{"subject": "notes.lance", "what": "<data/1.lance> is missing"}]
  }]
}"#;

#[tokio::test]
async fn a_check_waits_and_shows_what_it_found() {
    let machine = Machine::new().await;
    machine.script.run_is(single(
        check(),
        "check vector-db",
        TaskState::Failed,
        RunState::Failed,
    ));
    machine.script.report(report("check", CHECKED));
    machine.script.watch(ends(RunState::Failed));
    let junit = machine.path("junit.xml");
    let summary = machine.path("summary.md");
    let mut command = machine.command(&[
        "check",
        "vector-db",
        "--host",
        "db-1",
        "--ci",
        "--junit",
        "junit.xml",
    ]);
    command.env("GITHUB_STEP_SUMMARY", &summary);
    let ran = finish(command)
        .await
        .ends(1)
        .says("notes.lance: <data/1.lance> is missing");
    assert!(
        !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'),
        "no colours"
    );
    let junit = std::fs::read_to_string(junit).expect("a JUnit file");
    assert!(
        junit.contains("<failure") && junit.contains("db-1/memory"),
        "{junit}"
    );
    assert!(junit.contains("&lt;data/1.lance&gt; is missing"), "{junit}");
    let summary = std::fs::read_to_string(summary).expect("a summary");
    assert!(
        summary.contains("check vector-db") && summary.contains("failed"),
        "{summary}"
    );
}

#[tokio::test]
async fn hosts_without_a_report_are_no_green_cases() {
    let machine = Machine::new().await;
    let mut detail = samples::ended_run();
    detail.tasks[1].state = TaskState::Lost.into();
    detail.run.as_mut().unwrap().state = RunState::Inconclusive.into();
    machine.script.run_is(detail);
    let ran = machine
        .run(&["report", "export", "0192", "--format", "junit"])
        .await
        .ends(0);
    assert!(ran.out.contains("errors=\"1\""), "{}", ran.out);
    let ran = machine
        .run(&["report", "export", "0192", "--format", "markdown"])
        .await
        .ends(0);
    assert!(ran.out.contains("db-2"), "{}", ran.out);
    machine
        .run(&[
            "report",
            "export",
            "0192",
            "--format",
            "html",
            "--to",
            "report.html",
        ])
        .await
        .ends(0);
    let page = std::fs::read_to_string(machine.path("report.html")).expect("the page");
    assert!(page.contains("db-2") && page.contains("inconclusive"), "{page}");
}

#[tokio::test]
async fn a_report_is_shown_and_exported_as_it_was_written() {
    let machine = Machine::new().await;
    machine.script.run_is(single(
        check(),
        "check vector-db",
        TaskState::Failed,
        RunState::Failed,
    ));
    machine.script.report(report("check", CHECKED));
    machine
        .run(&["report", "show", TASK_1])
        .await
        .ends(0)
        .says("vector-db: failed");
    let ran = machine
        .run(&["report", "export", "0192", "--format", "json"])
        .await
        .ends(0);
    let written: serde_json::Value = serde_json::from_str(CHECKED).expect("JSON");
    assert_eq!(ran.json()["tasks"][0]["report"], written);
    machine
        .run(&["report", "show", "0192", "--host", "db-9"])
        .await
        .ends(66)
        .says("db-9");
    machine.script.report(report("check", "not JSON"));
    machine
        .run(&["report", "show", TASK_1])
        .await
        .ends(70)
        .says("is not JSON");
}
