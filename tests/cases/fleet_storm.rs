//! Runs over twenty hosts reach their true end through everything: a coordinator killed at each of its failpoints,
//! agents killed at theirs, a network that breaks and one that swallows.
//!
//! After each: nothing is lost, nothing is done twice, every state is explained, and a retry takes what did not pass.

use dr_proto::model::TaskState;
use dr_store::failpoint::POINTS;
use dr_tests::fleet::Fleet;
use dr_tests::fleet::mixed::Mixed;
use dr_tests::fleet::simulated::{Behaviour, SimulatedHost};
use dr_tests::host::Host;
use dr_tests::network::Weather;
use serde_json::{Value, json};

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";
/// A request to all hosts.
const EVERYBODY: [&str; 4] = ["snapshot", "create", "--select", "*"];

/// Killed here, the coordinator has not made the run: it is all there, or not at all.
const BEFORE_THE_RUN: [&str; 3] = ["store.run.made", "store.task.made:7", "store.run.commit"];
/// Killed at each of these one after another, all within one run. The first is reached by the request itself, and each
/// leaves at least one task on which the next is reached.
const WITHIN_A_RUN: [&str; 8] = [
    "store.run.committed",
    "store.offer",
    "store.offered",
    "hello.step",
    "store.result.stepped",
    "store.result",
    "store.result.committed",
    "store.settle",
];
/// The same within another run.
const WITHIN_ANOTHER: [&str; 2] = ["dispatcher.sent", "gateway.result.filed"];
/// Reached by a run that is given up, in part or as a whole.
const GIVEN_UP: [&str; 3] = ["store.cancel", "store.expire", "store.lose"];
/// Reached while a host enrols.
const ENROLMENT: [&str; 2] = ["enrolment.signed", "store.enroll"];
/// Not reached by what hosts are asked to do: forgetting old runs, copies of the store.
const HOUSEKEEPING: [&str; 4] = ["backup.sealed", "recover.checked", "recover.told", "store.prune"];

#[test]
fn no_failpoint_of_the_coordinator_is_left_out() {
    let groups = [
        &BEFORE_THE_RUN[..],
        &WITHIN_A_RUN,
        &WITHIN_ANOTHER,
        &GIVEN_UP,
        &ENROLMENT,
        &HOUSEKEEPING,
    ];
    let mut all: Vec<&str> = groups
        .into_iter()
        .flatten()
        .map(|point| point.split(':').next().unwrap_or(point))
        .collect();
    all.sort_unstable();
    assert_eq!(all, POINTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_a_coordinator_that_is_killed_at_every_step() {
    let case = "a_run_survives_a_coordinator_that_is_killed_at_every_step";
    let Some(mut mixed) = Mixed::start(3, 17).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    for point in BEFORE_THE_RUN {
        mixed.fleet.restart_until(Some(point));
        let _unanswered = mixed.fleet.drctl(&EVERYBODY).expect_code(69);
        let _died = mixed.fleet.wait_for_death().expect_code(137);
        mixed.fleet.restart();
        let runs = mixed.fleet.ask(&["run", "list"]);
        assert_eq!(runs["runs"], json!([]), "killed at {point} it left half a run");
    }

    // Held up, so that the run can be looked at before anything happens.
    let _held = mixed
        .fleet
        .drctl(&["suspend", "--reason", "a storm is coming"])
        .expect_code(0);
    let run = run_that_nobody_was_told_of(&mut mixed).await;
    for (number, point) in WITHIN_A_RUN.iter().enumerate().skip(1) {
        mixed.fleet.restart_until(Some(point));
        if number == 1 {
            // It dies over what this sets free, perhaps before it answers.
            let _resumed = mixed.fleet.drctl(&["resume"]);
        }
        // Hosts die and come back as well, others each time.
        for host in mixed.simulated.iter_mut().skip(number % 4).step_by(4) {
            host.start();
        }
        let _died = mixed.fleet.wait_for_death().expect_code(137);
    }
    mixed.fleet.restart();
    let _watched = mixed.fleet.drctl(&["run", "watch", &run]).expect_code(0);
    mixed.expect_all_passed(&mixed.fleet.ask(&["run", "show", &run]), 1);
    mixed.expect_executions(|_| 1);
    mixed.expect_snapshots(1).await;

    let [sent, filed] = WITHIN_ANOTHER;
    mixed.until_connected(mixed.len()).await;
    mixed.fleet.restart_until(Some(sent));
    let _perhaps_answered = mixed.fleet.drctl(&EVERYBODY);
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    mixed.fleet.restart_until(Some(filed));
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    mixed.fleet.restart();
    let runs = mixed.fleet.ask(&["run", "list", "-n", "1"]);
    let run = runs["runs"][0]["id"].as_str().unwrap();
    mixed.expect_all_passed(&mixed.ended(run).await, 1);
    mixed.expect_executions(|_| 2);
    mixed.expect_snapshots(2).await;
    mixed.expect_audit_intact();
}

/// Starts a run and kills the coordinator before it can say so.
async fn run_that_nobody_was_told_of(mixed: &mut Mixed) -> String {
    mixed.fleet.restart_until(Some(WITHIN_A_RUN[0]));
    let _unanswered = mixed.fleet.drctl(&EVERYBODY).expect_code(69);
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    mixed.fleet.restart();
    let runs = mixed.fleet.ask(&["run", "list"]);
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "what was committed is there, once: {runs:#?}");
    let id = runs[0]["id"].as_str().unwrap().to_owned();
    let held = |run: &Value| {
        let mut tasks = run["tasks"].as_array().unwrap().iter();
        tasks.all(|task| {
            task["explanation"]
                .as_str()
                .unwrap_or("")
                .contains("a storm is coming")
        })
    };
    let _held = mixed.fleet.until(&["run", "show", &id], held).await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_ends_once_and_a_retry_takes_only_that() {
    let case = "what_is_given_up_ends_once_and_a_retry_takes_only_that";
    let Some(mut mixed) = Mixed::start(1, 9).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    // Three hosts accept their task and never end it.
    for host in &mixed.simulated[..3] {
        host.behave(Behaviour::Wedge);
    }
    let run = mixed.ask_all(&[]);
    let wedged = |host: &str| ["sim-1", "sim-2", "sim-3"].contains(&host);
    let only_they_run = |run: &Value| run["run"]["tasks"] == json!({ "passed": 7, "running": 3 });
    let _others_ended = mixed.fleet.until(&["run", "show", &run], only_they_run).await;
    mixed.fleet.restart_until(Some("store.cancel"));
    let _unanswered = mixed.fleet.drctl(&["run", "cancel", &run]).expect_code(69);
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    // What was not committed did not happen: the run goes on.
    mixed.fleet.restart();
    let _goes_on = mixed.fleet.until(&["run", "show", &run], only_they_run).await;
    for host in &mut mixed.simulated[..3] {
        host.behave(Behaviour::End(TaskState::Passed));
        host.finish(TaskState::Inconclusive);
        host.start();
    }
    let given_up = mixed.ended(&run).await;
    assert_eq!(given_up["run"]["state"], "inconclusive", "{given_up:#}");
    for (host, state) in mixed.states(&given_up) {
        let wanted = if wedged(&host) { "inconclusive" } else { "passed" };
        assert_eq!(state, wanted, "{host}: {given_up:#}");
    }
    let _again = mixed.fleet.ask(&["run", "retry", &run, "--wait"]);
    mixed.expect_executions(|host| 1 + usize::from(wedged(host.name().as_str())));
    mixed.expect_snapshots(1).await;

    // One hangs beyond its deadline, and the coordinator dies over that.
    mixed.simulated[0].behave(Behaviour::Wedge);
    mixed.fleet.restart_until(Some("store.expire"));
    mixed.until_connected(mixed.len()).await;
    let expiring = ["snapshot", "create", "--host", "sim-1", "--deadline", "20s"];
    let _perhaps_answered = mixed.fleet.drctl(&expiring);
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    mixed.fleet.restart();
    let runs = mixed.fleet.ask(&["run", "list", "-n", "1"]);
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let expired = mixed.ended(&run).await;
    assert_eq!(expired["run"]["tasks"], json!({ "expired": 1 }), "{expired:#}");
    mixed.simulated[0].behave(Behaviour::End(TaskState::Passed));
    let _again = mixed.fleet.ask(&["run", "retry", &run, "--wait"]);
    let executed = |host: &SimulatedHost| match host.name().as_str() {
        "sim-1" => 4,
        name => 1 + usize::from(wedged(name)),
    };
    mixed.expect_executions(executed);

    // Handed out, as the store says, and never sent: cancelled before anybody heard of it.
    mixed.fleet.restart_until(Some("store.offered"));
    mixed.until_connected(mixed.len()).await;
    let _perhaps_answered = mixed.fleet.drctl(&EVERYBODY);
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    mixed.network.turn(Weather::Down);
    mixed.fleet.restart_until(Some("store.lose"));
    let runs = mixed.fleet.ask(&["run", "list", "--active"]);
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let _asked = mixed.fleet.drctl(&["run", "cancel", &run]).expect_code(0);
    mixed.network.turn(Weather::Clear);
    let _died = mixed.fleet.wait_for_death().expect_code(137);
    mixed.fleet.restart();
    let cancelled = mixed.ended(&run).await;
    assert_eq!(cancelled["run"]["state"], "cancelled", "{cancelled:#}");
    assert!(
        mixed
            .states(&cancelled)
            .values()
            .all(|state| state == "cancelled")
    );
    mixed.expect_executions(executed);
    mixed.expect_snapshots(1).await;
    mixed.expect_audit_intact();
}

/// Where an agent is killed; whether its answer is then known; whether its snapshot is there.
const AGENT: [(&str, bool, bool); 9] = [
    ("journal.accepted", false, false),
    ("task.begun", false, false),
    ("snapshot.cut", false, false),
    ("backup.packs.stored", false, false),
    ("snapshot.committed", false, true),
    ("task.ended", false, true),
    ("journal.document", false, true),
    ("journal.finished", true, true),
    ("journal.acknowledged", true, true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_anywhere_answers_and_does_nothing_twice() {
    let case = "an_agent_that_is_killed_anywhere_answers_and_does_nothing_twice";
    let Some(mut mixed) = Mixed::start(3, 17).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut runs = 0;
    let mut kept = [0; 3];
    for points in AGENT.chunks(3) {
        for (real, (point, ..)) in mixed.real.iter_mut().zip(points) {
            real.restart(Some(point));
        }
        mixed.until_connected(20).await;
        let run = mixed.ask_all(&[]);
        runs += 1;
        for host in mixed.simulated.iter_mut().skip(runs % 3).step_by(3) {
            host.start();
        }
        for real in &mut mixed.real {
            real.wait_for_death();
            real.restart(None);
        }
        let after = mixed.ended(&run).await;
        let states = mixed.states(&after);
        for (host, state) in states.iter().filter(|(host, _)| host.starts_with("sim-")) {
            assert_eq!(state, "passed", "{host}: {after:#}");
        }
        for ((real, (point, answered, there)), kept) in mixed.real.iter().zip(points).zip(&mut kept) {
            let state = &states[real.host.name()];
            let wanted = if *answered { "passed" } else { "inconclusive" };
            assert_eq!(state, wanted, "killed at {point}: {after:#}");
            *kept += usize::from(*there);
            assert_eq!(real.snapshots(), *kept, "killed at {point}");
        }
        let unfinished = points.iter().filter(|(_, answered, _)| !answered).count();
        if unfinished > 0 {
            let _again = mixed.fleet.ask(&["run", "retry", &run, "--wait"]);
        }
        for ((real, (point, answered, _)), kept) in mixed.real.iter().zip(points).zip(&mut kept) {
            *kept += usize::from(!answered);
            assert_eq!(real.snapshots(), *kept, "tried again after {point}");
        }
        mixed.expect_executions(|_| runs);
    }
    mixed.expect_audit_intact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_breaks_or_swallows_delays_a_run_and_no_more() {
    let case = "a_network_that_breaks_or_swallows_delays_a_run_and_no_more";
    // Nobody is missed before all of them were asked, however slow the machine is.
    let lines = "agents = { heartbeat = \"1s\", lost_after = \"20s\" }\n";
    let Some(mixed) = Mixed::start_with(lines, 3, 17).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    mixed.network.turn(Weather::Down);
    mixed.until_connected(0).await;
    let first = mixed.ask_all(&[]);
    let waits = |run: &Value| {
        let mut tasks = run["tasks"].as_array().unwrap().iter();
        tasks.all(|task| task["state"] == "queued" && explains(task, "to connect"))
    };
    let _waiting = mixed.fleet.until(&["run", "show", &first], waits).await;
    mixed.network.turn(Weather::Clear);
    mixed.expect_all_passed(&mixed.ended(&first).await, 1);

    mixed.until_connected(20).await;
    mixed.network.turn(Weather::BlackHole);
    let second = mixed.ask_all(&[]);
    // Handed out into a void: nobody is told that nobody hears.
    let offered = |run: &Value| run["run"]["tasks"] == json!({ "offered": 20 });
    let _offered = mixed.fleet.until(&["run", "show", &second], offered).await;
    mixed.until_connected(0).await;
    mixed.network.turn(Weather::Clear);
    mixed.expect_all_passed(&mixed.ended(&second).await, 1);
    mixed.expect_executions(|_| 2);
    mixed.expect_snapshots(2).await;
    mixed.expect_audit_intact();
}

fn explains(task: &Value, word: &str) -> bool {
    task["explanation"].as_str().is_some_and(|why| why.contains(word))
}

#[test]
fn a_host_enrols_though_the_coordinator_dies_over_it() {
    let case = "a_host_enrols_though_the_coordinator_dies_over_it";
    let (Some(mut fleet), Some(host)) = (Fleet::start(), Host::new()) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let (host, token) = fleet.invite(host.with_name("db-1"), &["env=test"], fleet.address());
    let enrol = ["enroll", "--token", &token];
    for point in ENROLMENT {
        fleet.restart_until(Some(point));
        let _unanswered = host.run(&enrol).expect_code(69);
        let _died = fleet.wait_for_death().expect_code(137);
    }
    fleet.restart();
    let _enrolled = host.run(&enrol).expect_code(0);
    let shown = fleet.ask(&["agent", "show", "db-1"]);
    assert_eq!(shown["labels"], json!({ "env": "test" }), "{shown:#}");
    // The token is spent: nobody else comes in with it.
    let other = Host::new().unwrap().with_name("db-1");
    let (other, _unused) = fleet.invite(other, &[], fleet.address());
    std::fs::remove_file(fleet.path().join("db-1.pem")).unwrap();
    std::fs::remove_file(fleet.path().join("db-1.key")).unwrap();
    let _refused = other.run(&enrol).expect_code(77);
    assert_eq!(fleet.ask(&["audit", "verify"])["intact"], true);
}

#[test]
fn housekeeping_that_is_killed_leaves_nothing_half_done() {
    let case = "housekeeping_that_is_killed_leaves_nothing_half_done";
    let (Some(mut fleet), Some(host)) = (Fleet::start(), Host::new()) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let [sealed, checked, told, pruned] = HOUSEKEEPING;
    fleet.restart_until(Some(pruned));
    let _died = fleet.wait_for_death().expect_code(137);
    fleet.restart();

    let _known = fleet.ask(&["agent", "token", "--host", "db-1"]);
    let before = fleet.ask(&["agent", "token", "list"])["tokens"].take();
    host.set_up();
    let key = std::fs::read_to_string(host.recovery_key()).unwrap();
    let public = key.lines().find_map(|line| line.strip_prefix("# public key:"));
    let public = public.expect("a key file names its public half").trim();
    let (config, copies) = (fleet.config(), fleet.path().join("copies"));
    let (config, folder) = (config.display().to_string(), copies.display().to_string());
    let backup = [
        "backup",
        "--config",
        &config,
        "--to",
        &folder,
        "--recipient",
        public,
    ];
    let _died = fleet.coordinator_until(Some(sealed), &backup).expect_code(137);
    let all = || dr_tests::files::files(&copies);
    assert!(
        all()
            .iter()
            .all(|file| file.extension().is_some_and(|ending| ending == "part")),
        "what is not whole has no name of a copy: {:?}",
        all()
    );
    let json: Vec<&str> = backup.iter().copied().chain(["--output", "json"]).collect();
    let made = fleet.coordinator(&json).expect_code(0).json();
    let copy = made["copy"].as_str().unwrap().to_owned();

    fleet.kill();
    fleet.lose_store();
    let identity = host.recovery_key().display().to_string();
    let recover = [
        "recover",
        "--config",
        &config,
        "--from",
        &copy,
        "--identity",
        &identity,
    ];
    for point in [checked, told] {
        let _died = fleet.coordinator_until(Some(point), &recover).expect_code(137);
        assert!(
            !fleet.store().exists(),
            "a store is there as a whole, and knows that it is a copy, or not at all"
        );
    }
    let _recovered = fleet.coordinator(&recover).expect_code(0);
    fleet.restart();
    assert_eq!(fleet.ask(&["agent", "token", "list"])["tokens"], before);
    assert_eq!(fleet.ask(&["audit", "verify"])["intact"], true);
}
