//! Who an agent is: one that comes back is the same, one that was copied is a twin, and one that is too old is not asked
//! what it would misunderstand.

use std::sync::Arc;

use dr_proto::model::{PROTOCOL, TOLERATED_SKEW};
use dr_store::{Store, SystemClock};
use dr_tests::fixtures;
use dr_tests::fleet::simulated::SimulatedHost;
use dr_tests::fleet::{Agent, DEADLINE, Fleet};
use dr_tests::host::Host;
use dr_tests::network::{Network, Weather};
use dr_tests::wait::until_answered;
use serde_json::{Value, json};

use crate::fleet_trouble::connected;

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";

/// Whether anybody was told that two processes come with one certificate.
fn twins(fleet: &Fleet) -> (bool, bool) {
    let says = |value: &Value, word: &str| value.to_string().contains(word);
    (
        says(&fleet.ask(&["status"])["concerns"], "duplicate_identity"),
        says(&fleet.ask(&["audit", "list"]), "agent.duplicate"),
    )
}

/// Waits until another process of the host than `before` has said hello, and gives it. Its name is no business of
/// operators: it is looked up in the store.
async fn process_after(fleet: &Fleet, before: Option<&str>) -> String {
    let url = format!("sqlite://{}", fleet.store().display());
    let store = Store::open(&url, Arc::new(SystemClock)).await.unwrap();
    let host = "db-1".parse().unwrap();
    let process = until_answered(DEADLINE, async || {
        let record = store.hosts().get(&host).await.unwrap();
        let process = record.and_then(|record| record.incarnation);
        let other = process.filter(|process| before != Some(process.as_str()));
        other.ok_or_else(|| format!("no other process than {before:?} came"))
    })
    .await;
    store.close().await;
    connected(fleet, 1).await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_killed_and_started_again_is_no_twin_and_a_copied_one_is() {
    let case = "an_agent_that_was_killed_and_started_again_is_no_twin_and_a_copied_one_is";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let network = Network::before(fleet.address()).await;
    let data = fixtures::small().last().map(fixtures::Fixture::unpack);
    let (Some(host), Some(data)) = (Host::new(), data) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let host = host.with_name("db-1").with_log("audit", &data.log());
    let host = fleet.enrol_over(host, &[], network.address());
    let agent = Agent::start(&host);
    let first = process_after(&fleet, None).await;

    // Killed, and started again at once.
    agent.kill();
    let agent = Agent::start(&host);
    let second = process_after(&fleet, Some(&first)).await;
    assert_eq!(twins(&fleet), (false, false), "a restart is no twin");

    // The same while the coordinator does not hear that the old process is gone: its stream is alive, and silent.
    network.turn(Weather::BlackHole);
    agent.kill();
    let text = std::fs::read_to_string(host.config()).unwrap();
    let direct = text.replace(&network.address().to_string(), &fleet.address().to_string());
    std::fs::write(host.config(), direct).unwrap();
    let agent = Agent::start(&host);
    let third = process_after(&fleet, Some(&second)).await;
    assert_eq!(
        twins(&fleet),
        (false, false),
        "nor is one behind a connection that is half gone"
    );

    let twin = host.copied();
    let direct = twin
        .configuration()
        .replace(&network.address().to_string(), &fleet.address().to_string());
    std::fs::write(twin.config(), direct).unwrap();
    let twin = Agent::start(&twin);
    let _fourth = process_after(&fleet, Some(&third)).await;
    let _told = fleet
        .until(&["status"], |status| {
            status["concerns"].to_string().contains("duplicate_identity")
        })
        .await;
    let audited = |audit: &Value| audit.to_string().contains("agent.duplicate");
    let _audited = fleet.until(&["audit", "list"], audited).await;
    agent
        .wait_for_end()
        .expect_code(75)
        .expect_said(&["another agent attached as db-1"]);
    let _ended = twin.stop().expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_agent_is_not_asked_for_what_it_would_misunderstand() {
    let case = "an_old_agent_is_not_asked_for_what_it_would_misunderstand";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let simulated = |name: &str| SimulatedHost::new(&fleet.pki(), fleet.path(), name, fleet.address());
    // Two minor versions in both directions work together; the older one knows less.
    let mut old = simulated("old")
        .with_protocol(PROTOCOL - TOLERATED_SKEW)
        .with_version("0.0.7", &[]);
    let mut new = simulated("new").with_protocol(PROTOCOL + TOLERATED_SKEW);
    old.start();
    new.start();
    connected(&fleet, 2).await;
    let run = fleet.ask(&["drill", "start", "--select", "*", "--only", "audit-log"]);
    let id = run["run"]["id"].as_str().expect("a run has an id");
    let ended = fleet
        .until(&["run", "show", id], |run| !run["run"]["finished"].is_null())
        .await;
    assert_eq!(ended["run"]["state"], "inconclusive", "{ended:#}");
    assert_eq!(
        ended["run"]["tasks"],
        json!({ "inconclusive": 1, "passed": 1 }),
        "{ended:#}"
    );
    let tasks = ended["tasks"].as_array().expect("a run has tasks");
    let of_old = tasks.iter().find(|task| task["host"] == "old").expect("its task");
    assert_eq!(of_old["cause"], "agent_too_old", "{ended:#}");
    let why = of_old["explanation"].to_string();
    assert!(
        why.contains("dr-agent 0.0.7") && why.contains("drill.only") && why.contains("upgrade"),
        "{why}"
    );
    assert!(old.executions().is_empty(), "it was not asked");
    // What it does understand it is asked as ever.
    let run = fleet.ask(&["drill", "start", "--select", "*", "--wait"]);
    assert_eq!(run["run"]["tasks"], json!({ "passed": 2 }), "{run:#}");
}
