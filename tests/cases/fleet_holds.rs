//! Holds on snapshots, through the coordinator: set, seen, over by themselves, released, and only where a host allows it.

use dr_tests::fleet::{DEADLINE, Fleet};
use dr_tests::wait::until_beside;
use serde_json::Value;

use crate::fleet_trouble::{connected, member};

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";

/// What `snapshot list` says of the hold on the newest snapshot.
fn hold(list: &Value) -> &Value {
    &list["snapshots"][0]["hold"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_are_set_shown_and_released_from_afar() {
    let case = "holds_are_set_shown_and_released_from_afar";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some((host, agent, _data)) = member(&fleet, "db-1", None) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    connected(&fleet, 1).await;
    let taken = fleet.ask(&[
        "snapshot",
        "create",
        "--host",
        "db-1",
        "--hold",
        "1s",
        "--reason",
        "pre-upgrade",
        "--wait",
    ]);
    assert_eq!(taken["run"]["state"], "passed", "{taken:#}");
    // Over by itself: it is told as such, not forgotten.
    let all = ["snapshot", "list"];
    fleet
        .until(&all, |list| hold(list)["reason"] == "pre-upgrade")
        .await;
    until_beside(DEADLINE, || {
        let list = fleet.drctl(&all).expect_code(0).said();
        if list.contains("hold ended") {
            Ok(())
        } else {
            Err(format!("the hold of a second is not over: {list}"))
        }
    })
    .await;
    let set = fleet.drctl(&[
        "snapshot", "hold", "db-1", "latest", "--for", "30d", "--reason", "OPS-4411",
    ]);
    set.expect_code(0).expect_said(&["held until", "OPS-4411"]);
    let held = fleet.until(&all, |list| hold(list)["reason"] == "OPS-4411").await;
    let id = held["snapshots"][0]["id"].as_str().unwrap().to_owned();
    // It is in the repository, where retention honours it, and not only in the coordinator's mind.
    let own = host
        .run(&["snapshots", "show", &id, "--output", "json"])
        .expect_code(0);
    assert_eq!(own.json()["hold"]["reason"], "OPS-4411");
    let released = fleet.drctl(&["snapshot", "release", "db-1", &id, "--reason", "upgraded"]);
    released.expect_code(0).expect_said(&["held no longer"]);
    fleet.until(&all, |list| hold(list).is_null()).await;
    let unknown = fleet.drctl(&["snapshot", "hold", "db-1", "ffff", "--reason", "x"]);
    unknown.expect_code(66).expect_said(&["ffff"]);
    // A host that says so releases nothing from afar.
    let _stopped = agent.stop();
    let host = host.with_lines("\n[allow]\nrelease_holds = false\n");
    host.configure();
    let _agent = dr_tests::fleet::Agent::start(&host);
    connected(&fleet, 1).await;
    let set = fleet.drctl(&["snapshot", "hold", "db-1", &id, "--reason", "OPS-1"]);
    let _set = set.expect_code(0);
    let refused = fleet.drctl(&["snapshot", "release", "db-1", &id, "--reason", "hurry"]);
    refused
        .expect_code(77)
        .expect_said(&["[allow].release_holds", "dr-agent snapshots release"]);
    let still = fleet.until(&all, |list| hold(list)["reason"] == "OPS-1").await;
    assert_eq!(hold(&still)["until"], Value::Null);
}
