//! A host whose machine was lost: the old one is refused, the new one is the same host with the same past.

use dr_tests::fleet::{Agent, Fleet};
use dr_tests::host::Host;
use serde_json::Value;

use crate::fleet_trouble::{connected, member};

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_machine_is_replaced_and_its_past_stays() {
    let case = "a_lost_machine_is_replaced_and_its_past_stays";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let repository = fleet.path().join("repository-of-db-1");
    let Some((host, agent, data)) = member(&fleet, "db-1", Some(&repository)) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    connected(&fleet, 1).await;
    let create = ["snapshot", "create", "--host", "db-1", "--wait"];
    let taken = fleet.ask(&create);
    assert_eq!(taken["run"]["state"], "passed", "{taken:#}");
    let token = fleet.drctl(&[
        "agent",
        "replace",
        "db-1",
        "--reason",
        "its disk died",
        "--needs-approval",
    ]);
    let token = token.expect_code(0);
    assert!(
        token.stdout.starts_with("drt1."),
        "the token alone is on stdout: {token:?}"
    );
    // The old machine is told, and does not come back by itself.
    agent.wait_for_end().expect_said(&["revoked"]);
    let awaited = fleet.ask(&["agent", "show", "db-1"]);
    assert_eq!(
        (&awaited["state"], &awaited["machine"]),
        (&Value::from("expected"), &Value::from(2))
    );
    for lost in ["pem", "key", "ca.pem"] {
        std::fs::remove_file(fleet.path().join(format!("db-1.{lost}"))).unwrap();
    }
    // The new machine has the name, the repository and its key, and the data; it has no state.
    let new = Host::new()
        .unwrap()
        .with_name("db-1")
        .with_log("audit", &data.log());
    let new = new.with_repository(&format!("file://{}", repository.display()));
    let new = fleet.prepare(new);
    std::fs::copy(host.key_file(), new.key_file()).unwrap();
    let _enrolled = new
        .run(&["enroll", "--token", token.stdout.trim()])
        .expect_code(0);
    let _agent = Agent::start(&new);
    fleet
        .until(&["agent", "show", "db-1"], |agent| agent["state"] == "pending")
        .await;
    let refused = fleet.drctl(&create);
    assert_ne!(refused.code(), 0, "{refused:?}");
    refused.expect_said(&["pending"]);
    fleet
        .drctl(&["agent", "approve", "db-1"])
        .expect_code(0)
        .expect_said(&["approved"]);
    fleet
        .until(&["agent", "show", "db-1"], |agent| agent["state"] == "connected")
        .await;
    let again = fleet.ask(&create);
    assert_eq!(
        again["run"]["state"], "passed",
        "its log goes on from the last snapshot: {again:#}"
    );
    let list = ["snapshot", "list", "--host", "db-1"];
    fleet
        .until(&list, |list| {
            list["snapshots"].as_array().is_some_and(|all| all.len() == 2)
        })
        .await;
    let runs = fleet.ask(&["run", "list", "--host", "db-1"]);
    assert_eq!(
        runs["runs"].as_array().map(Vec::len),
        Some(2),
        "the past stays: {runs:#}"
    );
}
