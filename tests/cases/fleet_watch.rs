//! A watch that is held open while its coordinator dies and comes back.

use dr_proto::model::TaskState;
use dr_tests::fleet::simulated::{Behaviour, SimulatedHost};
use dr_tests::fleet::{DEADLINE, Fleet};
use dr_tests::process::Running;

use crate::fleet_trouble::connected;

const NOT_BUILT: &str = "dr-coordinator or drctl is not built";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_lives_through_the_death_of_its_coordinator_and_tells_the_true_end() {
    let case = "a_watch_lives_through_the_death_of_its_coordinator_and_tells_the_true_end";
    let Some(mut fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut host = SimulatedHost::new(&fleet.pki(), fleet.path(), "db-1", fleet.address());
    host.behave(Behaviour::Wedge);
    host.start();
    connected(&fleet, 1).await;
    let run = fleet.ask(&["check", "audit-log", "--host", "db-1", "--detach"]);
    let id = run["run"]["id"].as_str().expect("a run has an id");
    let watch = Running::start(&mut fleet.drctl_command(&["run", "watch", id]));
    watch.until_said("db-1: running", DEADLINE);
    fleet.kill();
    watch.until_said("trying again", DEADLINE);
    // The work ends while nobody is there to be told, and badly.
    host.kill();
    host.finish(TaskState::Failed);
    fleet.restart();
    host.start();
    let _back = fleet
        .until(&["run", "show", id], |run| run["tasks"][0]["state"] != "running")
        .await;
    let watched = watch.finish(DEADLINE).expect_code(1);
    watched.expect_said(&["db-1: failed"]);
}
