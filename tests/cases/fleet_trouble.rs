//! Hosts that make trouble: wedged, late, twice there, too old, full, shut out, suspended. Each is reported as what it
//! is, and holds up nobody else.

use std::path::Path;

use dr_proto::model::{GoodbyeReason, PROTOCOL, TOLERATED_SKEW, TaskState};
use dr_tests::fixtures;
use dr_tests::fleet::simulated::{Behaviour, SimulatedHost};
use dr_tests::fleet::{Agent, DEADLINE, Fleet};
use dr_tests::host::Host;
use dr_tests::mount::Mount;
use dr_tests::process::run;
use dr_tests::prometheus::{Page, Sample};
use dr_tests::wait;
use jiff::SignedDuration;
use serde_json::{Value, json};

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";

/// A simulated host of the fleet that is not started yet.
fn simulated(fleet: &Fleet, name: &str) -> SimulatedHost {
    SimulatedHost::new(&fleet.pki(), fleet.path(), name, fleet.address())
}

/// Waits until so many agents are connected.
pub(crate) async fn connected(fleet: &Fleet, count: usize) {
    let _status = fleet
        .until(&["status"], |status| status["agents_connected"] == count)
        .await;
}

/// Starts something that makes a run and gives its id.
#[track_caller]
fn started(fleet: &Fleet, arguments: &[&str]) -> String {
    let started = fleet.ask(arguments);
    started["run"]["id"].as_str().expect("a run has an id").to_owned()
}

/// The task of a host in a run.
#[track_caller]
fn task<'a>(run: &'a Value, host: &str) -> &'a Value {
    let tasks = run["tasks"].as_array().expect("a run has tasks");
    let found = tasks.iter().find(|task| task["host"] == host);
    found.unwrap_or_else(|| panic!("a task of {host} is expected: {run:#}"))
}

/// Waits until a series of the coordinator is at least this.
async fn metric(fleet: &Fleet, name: &str, label: (&str, &str), least: f64) {
    let fits = |sample: &&Sample| sample.labels.get(label.0).is_some_and(|value| value == label.1);
    wait::until_beside(DEADLINE, || {
        let page = Page::scrape(fleet.metrics());
        let found = page.samples(name).iter().find(fits).map(|sample| sample.value);
        match found.is_some_and(|value| value >= least) {
            true => Ok(()),
            false => Err(format!("{name} of {label:?} is {found:?}, never {least}")),
        }
    })
    .await;
}

fn says(value: &Value, word: &str) -> bool {
    value.to_string().contains(word)
}

fn has_ended(run: &Value) -> bool {
    !run["run"]["finished"].is_null()
}

/// What `drctl status` says of a host under this word.
fn concern<'a>(status: &'a Value, kind: &str, host: &str) -> Option<&'a Value> {
    let concerns = status["concerns"].as_array().expect("a list of concerns");
    concerns
        .iter()
        .find(|concern| concern["kind"] == kind && concern["host"] == host)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wedged_task_ends_at_its_deadline_and_blocks_nobody() {
    let case = "a_wedged_task_ends_at_its_deadline_and_blocks_nobody";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut hosts = ["db-1", "db-2", "db-3"].map(|name| simulated(&fleet, name));
    hosts.iter_mut().for_each(SimulatedHost::start);
    connected(&fleet, 3).await;
    // As long as anybody looks, however slowly.
    hosts[0].behave(Behaviour::Wedge);
    let wedged = started(&fleet, &["snapshot", "create", "--select", "*"]);
    let alone = |run: &Value| run["run"]["tasks"] == json!({ "passed": 2, "running": 1 });
    let _others_are_done = fleet.until(&["run", "show", &wedged], alone).await;
    // The others have the next run while it hangs; its own task waits its turn and says for what.
    let next = started(&fleet, &["snapshot", "create", "--select", "*"]);
    let run = fleet
        .until(&["run", "show", &next], |run| {
            run["run"]["tasks"] == json!({ "passed": 2, "queued": 1 })
                && says(&task(run, "db-1")["explanation"], "waits")
        })
        .await;
    assert!(!has_ended(&run), "{run:#}");

    // Another that hangs has a short time.
    hosts[1].behave(Behaviour::Wedge);
    let short = started(
        &fleet,
        &["snapshot", "create", "--host", "db-2", "--deadline", "5s"],
    );
    let begun = |run: &Value| run["run"]["tasks"] == json!({ "running": 1 }) || has_ended(run);
    let _begun = fleet.until(&["run", "show", &short], begun).await;
    hosts[1].behave(Behaviour::End(TaskState::Passed));
    let after = started(&fleet, &["snapshot", "create", "--host", "db-2"]);
    let ended = fleet.until(&["run", "show", &short], has_ended).await;
    let task_of_it = task(&ended, "db-2");
    assert_eq!(ended["run"]["state"], "inconclusive", "{ended:#}");
    assert_eq!(task_of_it["state"], "expired", "{ended:#}");
    assert_eq!(task_of_it["cause"], "deadline", "{ended:#}");
    assert!(says(&task_of_it["explanation"], "no end within"), "{ended:#}");
    let after = fleet.until(&["run", "show", &after], has_ended).await;
    assert_eq!(
        after["run"]["state"], "passed",
        "what waited has its turn: {after:#}"
    );
    let run = fleet.ask(&["run", "show", &wedged]);
    assert!(alone(&run), "the first has time left: {run:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_clock_an_old_version_and_a_twin_are_named() {
    let case = "a_late_clock_an_old_version_and_a_twin_are_named";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut late = simulated(&fleet, "late").with_clock_ahead(SignedDuration::from_secs(-95));
    let mut old = simulated(&fleet, "old").with_protocol(PROTOCOL - TOLERATED_SKEW);
    let mut alien = simulated(&fleet, "alien").with_protocol(PROTOCOL + TOLERATED_SKEW + 1);
    for host in [&mut late, &mut old, &mut alien] {
        host.start();
    }
    connected(&fleet, 2).await;

    let shown = fleet.ask(&["agent", "show", "late"]);
    assert!(says(&shown["problems"], "clock skew: "), "{shown:#}");
    assert!(says(&shown["problems"], "behind the coordinator's"), "{shown:#}");
    let skew = shown["clock_skew_seconds"].as_f64().unwrap();
    // What the hello took on its way counts as skew.
    assert!((-155.0..-94.0).contains(&skew), "{shown:#}");
    let shown = fleet.ask(&["agent", "show", "old"]);
    assert!(says(&shown["problems"], "an older minor version"), "{shown:#}");
    // Both do their work all the same.
    let run = started(&fleet, &["snapshot", "create", "--select", "*"]);
    let run = fleet.until(&["run", "show", &run], has_ended).await;
    assert_eq!(run["run"]["tasks"], json!({ "passed": 2 }), "{run:#}");

    metric(&fleet, "dr_agent_streams_total", ("end", "version"), 1.0).await;
    let _named = fleet
        .until(&["status"], |status| {
            concern(status, "agent_turned_away", "alien").is_some()
        })
        .await;
    let goodbye = wait::until_beside(DEADLINE, || {
        alien.goodbye().ok_or_else(|| "nobody told it why".to_owned())
    })
    .await;
    assert_eq!(goodbye.reason, GoodbyeReason::Version);
    assert!(
        goodbye
            .message
            .contains("the coordinator is too old for this agent"),
        "{goodbye:?}"
    );
    assert_eq!((alien.welcomes(), alien.executions().len()), (0, 0));

    let elsewhere = fleet.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let mut one = simulated(&fleet, "twin");
    let mut other = SimulatedHost::new(&fleet.pki(), &elsewhere, "twin", fleet.address());
    one.start();
    connected(&fleet, 3).await;
    other.start();
    let status = fleet
        .until(&["status"], |status| {
            concern(status, "duplicate_identity", "twin").is_some()
                && concern(status, "clock_skew", "late").is_some()
        })
        .await;
    let late = concern(&status, "clock_skew", "late").expect("the late clock needs somebody");
    assert!(says(&late["remedy"], "NTP"), "{late:#}");
    let twin = concern(&status, "duplicate_identity", "twin").unwrap();
    assert_eq!(twin["severity"], "page", "{twin:#}");
    let _audited = fleet
        .until(&["audit", "list"], |audit| says(audit, "agent.duplicate"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_loses_its_stream_and_stays_out() {
    let case = "a_revoked_agent_loses_its_stream_and_stays_out";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut hosts = ["db-1", "db-2"].map(|name| simulated(&fleet, name));
    hosts.iter_mut().for_each(SimulatedHost::start);
    connected(&fleet, 2).await;
    let gone = fleet.ask(&["agent", "revoke", "db-1", "--reason", "its disk was stolen"]);
    assert_eq!(gone["streams_ended"], 1, "{gone:#}");
    connected(&fleet, 1).await;
    let before = hosts[0].welcomes();
    // It comes back again and again, and is refused each time.
    metric(&fleet, "dr_auth_refusals_total", ("reason", "revoked"), 3.0).await;
    assert_eq!(hosts[0].welcomes(), before, "it never came in again");
    let shown = fleet.ask(&["agent", "show", "db-1"]);
    assert_eq!(shown["state"], "revoked", "{shown:#}");
    assert!(says(&shown["problems"], "its disk was stolen"), "{shown:#}");
    metric(&fleet, "dr_agents", ("state", "revoked"), 1.0).await;
    let audit = fleet.ask(&["audit", "list"]);
    assert!(says(&audit, "agent.revoke"), "{audit:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_reads_and_changes_nothing() {
    let case = "a_viewer_reads_and_changes_nothing";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut host = simulated(&fleet, "db-1");
    host.start();
    connected(&fleet, 1).await;
    fleet.issue("viewer", "vera");
    let file = fleet.path().join("nightly.toml");
    let text = "schema = 1\nname = \"nightly\"\n[drill]\nkind = \"snapshot\"\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let _applied = fleet.drctl(&["plan", "apply", &file]).expect_code(0);
    let taken = fleet.ask(&["snapshot", "create", "--host", "db-1", "--wait"]);
    let id = taken["run"]["id"].as_str().unwrap();
    let as_vera = |arguments: &[&str]| run(&mut fleet.drctl_command_as("vera", arguments), DEADLINE);
    for reads in [
        &["status"][..],
        &["agent", "list"],
        &["plan", "list"],
        &["plan", "preview", "nightly"],
        &["run", "show", id],
        &["audit", "verify"],
    ] {
        let _answered = as_vera(reads).expect_code(0);
    }
    let runs = || fleet.ask(&["run", "list"])["runs"].take();
    let before = runs();
    for changes in [
        &["snapshot", "create", "--host", "db-1"][..],
        &["drill", "start", "--host", "db-1"],
        &["check", "audit-log", "--host", "db-1"],
        &["plan", "apply", &file],
        &["plan", "disable", "nightly"],
        &["plan", "enable", "nightly"],
        &["plan", "delete", "nightly"],
        &["run", "start", "nightly"],
        &["run", "cancel", id],
        &["run", "retry", id],
        &["suspend", "--reason", "vera"],
        &["resume"],
        &["agent", "token", "--host", "db-2"],
        &["agent", "revoke", "db-1", "--reason", "vera"],
        &["agent", "retire", "db-1", "--reason", "vera"],
    ] {
        let refused = as_vera(changes).expect_code(77);
        refused.expect_said(&["an operator"]);
    }
    assert_eq!(runs(), before, "no run began or changed");
    metric(&fleet, "dr_auth_refusals_total", ("reason", "role"), 15.0).await;
    let audit = fleet
        .until(&["audit", "list"], |audit| says(audit, "call.refused"))
        .await;
    assert!(says(&audit, "/viewer/vera"), "{audit:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_host_waits_says_why_and_goes_on() {
    let case = "a_suspended_host_waits_says_why_and_goes_on";
    let Some(mut fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let mut hosts = ["db-1", "db-2"].map(|name| simulated(&fleet, name));
    hosts.iter_mut().for_each(SimulatedHost::start);
    connected(&fleet, 2).await;
    let scope = ["--scope", "host=db-1"];
    let suspend = [
        "suspend",
        scope[0],
        scope[1],
        "--reason",
        "a new disk",
        "--for",
        "1h",
    ];
    let _suspended = fleet.drctl(&suspend).expect_code(0);
    let run = started(&fleet, &["snapshot", "create", "--select", "*"]);
    let waits = |run: &Value| {
        run["run"]["tasks"] == json!({ "passed": 1, "queued": 1 })
            && says(&task(run, "db-1")["explanation"], "a new disk")
    };
    let _waits = fleet.until(&["run", "show", &run], waits).await;
    // A coordinator that comes back knows of it.
    fleet.restart();
    connected(&fleet, 2).await;
    let status = fleet.ask(&["status"]);
    assert!(says(&status["suspensions"], "host=db-1"), "{status:#}");
    let shown = fleet.ask(&["agent", "show", "db-1"]);
    assert!(says(&shown["suspended"], "a new disk"), "{shown:#}");
    // Gauges are derived every few seconds.
    metric(&fleet, "dr_suspended", ("scope", "host"), 1.0).await;
    let _still_waits = fleet.until(&["run", "show", &run], waits).await;
    assert!(hosts[0].executions().is_empty(), "nothing started there");
    let _resumed = fleet.drctl(&["resume", scope[0], scope[1]]).expect_code(0);
    let ended = fleet.until(&["run", "show", &run], has_ended).await;
    assert_eq!(ended["run"]["state"], "passed", "{ended:#}");
}

/// A member with an audit log whose repository is at `repository`, its agent, and what keeps the log there.
pub(crate) fn member(
    fleet: &Fleet,
    name: &str,
    repository: Option<&Path>,
) -> Option<(Host, Agent, fixtures::Unpacked)> {
    let data = fixtures::small().last()?.unpack();
    let mut host = Host::new()?.with_name(name).with_log("audit", &data.log());
    if let Some(path) = repository {
        host = host.with_repository(&format!("file://{}", path.display()));
    }
    let host = fleet.enrol(host, &[]);
    let agent = Agent::start(&host);
    Some((host, agent, data))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_where_it_is() {
    let case = "a_full_disk_is_reported_where_it_is";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let Some(disk) = Mount::memory(&fleet.path().join("small-disk"), "4m") else {
        // Only root can mount; CI runs as root.
        return dr_tests::skip(case, "a small file system can not be mounted here");
    };
    let repository = disk.path().join("repository");
    let (Some(full), Some(well)) = (
        member(&fleet, "db-1", Some(&repository)),
        member(&fleet, "db-2", None),
    ) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    connected(&fleet, 2).await;
    let filler = disk.path().join("filler");
    // As much as there is.
    let _full = std::fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    let run = started(&fleet, &["snapshot", "create", "--select", "*"]);
    let ended = fleet.until(&["run", "show", &run], has_ended).await;
    assert_eq!(task(&ended, "db-2")["state"], "passed", "{ended:#}");
    let on_full = task(&ended, "db-1");
    assert_ne!(on_full["state"], "passed", "{ended:#}");
    assert_eq!(on_full["cause"], "no_space", "{ended:#}");
    assert!(says(&on_full["explanation"], "space"), "{ended:#}");
    for outcome in ["committed", "failed"] {
        metric(&fleet, "dr_snapshots_total", ("outcome", outcome), 1.0).await;
        let page = Page::scrape(fleet.metrics());
        assert_eq!(page.value("dr_snapshots_total", &[("outcome", outcome)]), 1.0);
    }

    std::fs::remove_file(&filler).unwrap();
    let again = fleet.ask(&["run", "retry", &run, "--wait"]);
    assert_eq!(again["run"]["state"], "passed", "{again:#}");
    drop((full, well));
}
