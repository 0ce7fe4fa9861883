//! A coordinator that is away or has lost its store: hosts go on by their plans, tell what they did when it is back,
//! and nothing runs twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dr_agent::config::{Overrides, Surroundings};
use dr_agent::error::Failure;
use dr_agent::exit::Code;
use dr_agent::probe::Exits;
use dr_agent::session::Session;
use dr_agent::stop::Stop;
use dr_agent::ui::{self, Ui};
use dr_tests::fleet::{DEADLINE, Fleet};
use dr_tests::host::Host;
use dr_tests::{files, fixtures, volume, wait};
use dr_vault::clock::{Clock, SystemClock};
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::fleet_trouble::{connected, member};

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_is_filled_again_by_the_agents() {
    let case = "a_lost_store_is_filled_again_by_the_agents";
    let Some(mut fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, _agent, _data)) = member(&fleet, "db-1", None) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    connected(&fleet, 1).await;
    let taken = fleet.ask(&["snapshot", "create", "--host", "db-1", "--wait"]);
    assert_eq!(taken["run"]["state"], "passed", "{taken:#}");
    let has_one = |list: &Value| list["snapshots"].as_array().is_some_and(|all| all.len() == 1);
    let known = ["snapshot", "list", "--host", "db-1"];
    let before = fleet.until(&known, has_one).await;
    fleet.kill();
    fleet.lose_store();
    fleet.restart();
    connected(&fleet, 1).await;
    let after = fleet.until(&known, has_one).await;
    assert_eq!(after["snapshots"][0]["id"], before["snapshots"][0]["id"]);
    // The agent tells what it remembers, so that what was proved stays proved, and does none of it again.
    let runs = fleet
        .until(&["run", "list"], |runs| {
            runs["runs"].as_array().is_some_and(|runs| !runs.is_empty())
        })
        .await;
    assert_eq!(runs["runs"][0]["state"], "passed", "{runs:#}");
    let next = fleet.ask(&["snapshot", "create", "--host", "db-1", "--wait"]);
    assert_eq!(next["run"]["state"], "passed", "{next:#}");
    let list = host
        .run(&["snapshots", "list", "--output", "json"])
        .expect_code(0);
    assert_eq!(list.json().as_array().map(Vec::len), Some(2), "{list:?}");
}

/// Snapshots in a host's repository, by its own word.
#[track_caller]
fn snapshots(host: &Host) -> usize {
    let list = host
        .run(&["snapshots", "list", "--output", "json"])
        .expect_code(0);
    list.json().as_array().expect("a list of snapshots").len()
}

/// Waits until a host's repository holds so many.
async fn until_snapshots(host: &Host, count: usize) {
    wait::until_beside(2 * DEADLINE, || match snapshots(host) {
        enough if enough >= count => Ok(()),
        few => Err(format!(
            "the plan does not go on without a coordinator: {few} snapshots"
        )),
    })
    .await;
}

/// A clock that can be put forward.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// A host's daemon in this process, all of it real but for its clock.
struct InProcess {
    clock: Arc<Ahead>,
    stop: Stop,
    running: std::thread::JoinHandle<Result<Code, Failure>>,
}

impl InProcess {
    fn start(host: &Host) -> Self {
        let surroundings = Surroundings {
            variables: vec![("DR_AGENT_LIMITS_PINS_MIN_FREE".into(), "64 MiB".into())],
            ..Surroundings::default()
        };
        let config = dr_agent::config::load(Some(&host.config()), &surroundings, &Overrides::default());
        let (clock, stop) = (Arc::new(Ahead::default()), Stop::default());
        let session = Session {
            config: config.unwrap(),
            ui: Ui::into_sinks(ui::Options::default(), std::io::sink(), std::io::sink()),
            clock: clock.clone(),
            stop: stop.clone(),
            counters: Counters::new(),
            circuit: Circuit::default(),
            probe_exits: Exits::default(),
            passphrase: None,
        };
        let running = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(dr_agent::daemon::run(&session))
        });
        Self { clock, stop, running }
    }

    fn stop(self) {
        self.stop.token().cancel();
        let ended = self.running.join().expect("the daemon does not panic");
        assert!(ended.is_ok(), "{ended:?}");
    }
}

/// The agent's clock is put forward, so that nobody waits for the time that it gives a coordinator to come back, nor for
/// the minute of the slot. Everything else is as it is: processes, mutual TLS, a repository.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_of_a_lost_coordinator_is_done_and_its_result_arrives_once() {
    let case = "a_slot_of_a_lost_coordinator_is_done_and_its_result_arrives_once";
    let Some(mut fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let data = fixtures::small().last().map(fixtures::Fixture::unpack);
    let (Some(host), Some(data)) = (Host::new(), data) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let host = fleet.enrol(host.with_name("db-1").with_log("audit", &data.log()), &[]);
    let agent = InProcess::start(&host);
    connected(&fleet, 1).await;
    // Due in ten minutes or eleven, which is long after the coordinator is gone, and then not for a day.
    let slot = Timestamp::from_second(SystemClock.now().as_second() / 60 * 60 + 660).unwrap();
    let (minute, hour) = (slot.as_second() / 60 % 60, slot.as_second() / 3_600 % 24);
    let file = fleet.path().join("daily.toml");
    let text = format!(
        "schema = 1\nname = \"daily\"\n[schedule]\ncron = \"{minute} {hour} * * *\"\ntimezone = \"UTC\"\n[drill]\nkind = \
         \"snapshot\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let _applied = fleet
        .drctl(&["plan", "apply", &file.display().to_string()])
        .expect_code(0);
    // The agent has been told of it when it may have taken its next heartbeat's turn: its journal says so.
    wait::until_beside(DEADLINE, || {
        let known = files::files(&host.state_dir()).into_iter().any(|file| {
            let text = std::fs::read(host.state_dir().join(file)).unwrap_or_default();
            text.windows(5).any(|word| word == b"daily")
        });
        known
            .then_some(())
            .ok_or_else(|| "the agent has no plan".to_owned())
    })
    .await;
    fleet.kill();
    assert_eq!(snapshots(&host), 0);
    agent.clock.0.store(700, Ordering::Relaxed);
    until_snapshots(&host, 1).await;
    fleet.restart();
    let runs = ["run", "list", "--plan", "daily"];
    let passed = |runs: &Value| runs["runs"][0]["state"] == "passed";
    let filed = fleet.until(&runs, passed).await;
    let run = &filed["runs"][0];
    assert_eq!(run["requested_by"], "agent db-1", "{filed:#}");
    let filed_slot: Timestamp = run["slot"].as_str().unwrap().parse().unwrap();
    assert_eq!(filed_slot, slot);
    // It is told once, however often the two meet.
    fleet.restart();
    connected(&fleet, 1).await;
    let again = fleet.ask(&runs);
    assert_eq!(again["runs"].as_array().map(Vec::len), Some(1), "{again:#}");
    assert_eq!(snapshots(&host), 1, "and nothing ran twice");
    agent.stop();
}

/// By the wall clock alone, which takes minutes: in soak only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_goes_on_without_a_coordinator_and_nothing_runs_twice() {
    let case = "a_plan_goes_on_without_a_coordinator_and_nothing_runs_twice";
    if volume::of(0, 1) == 0 {
        return;
    }
    let Some(mut fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, _agent, _data)) = member(&fleet, "db-1", None) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    connected(&fleet, 1).await;
    let file = fleet.path().join("minutely.toml");
    let text =
        "schema = 1\nname = \"minutely\"\n[schedule]\ncron = \"* * * * *\"\n[drill]\nkind = \"snapshot\"\n";
    std::fs::write(&file, text).unwrap();
    let _applied = fleet
        .drctl(&["plan", "apply", &file.display().to_string()])
        .expect_code(0);
    let passed = |runs: &Value| {
        let runs = runs["runs"].as_array().expect("a list of runs").iter();
        runs.filter(|run| run["state"] == "passed").count()
    };
    let runs = ["run", "list", "--plan", "minutely"];
    let _first = fleet.until(&runs, |runs| passed(runs) == 1).await;
    fleet.kill();
    let before = snapshots(&host);
    until_snapshots(&host, before + 2).await;
    fleet.restart();
    let _no_more = fleet.drctl(&["plan", "disable", "minutely"]).expect_code(0);
    connected(&fleet, 1).await;
    let settled = |runs: &Value| {
        let all = runs["runs"].as_array().expect("a list of runs");
        all.iter().all(|run| run["state"] == "passed") && all.len() == snapshots(&host)
    };
    let runs = fleet.until(&runs, settled).await;
    let slots: BTreeSet<&str> = runs["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["slot"].as_str().expect("a slot"))
        .collect();
    assert_eq!(slots.len(), snapshots(&host), "one snapshot a slot: {runs:#}");
}
