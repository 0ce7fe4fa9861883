//! A coordinator that is away or has lost its store: hosts go on by their plans, tell what they did when it is back,
//! and nothing runs twice.

use std::collections::BTreeSet;
use std::time::Duration;

use dr_tests::fleet::{DEADLINE, Fleet};
use dr_tests::host::Host;
use dr_tests::volume;
use serde_json::Value;
use tokio::time::Instant;

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

/// Takes minutes by the wall clock, for agents give a coordinator that long to come back: in soak only. What is decided
/// meanwhile the agent's own tests try against a clock of theirs.
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
    let deadline = Instant::now() + 2 * DEADLINE;
    while snapshots(&host) < before + 2 {
        assert!(
            Instant::now() < deadline,
            "the plan did not go on without a coordinator"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
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
