//! Plans: refused with all that is wrong with them; a preview is what the run then does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dr_proto::model::TaskState;
use dr_tests::fleet::Fleet;
use dr_tests::fleet::simulated::{Behaviour, SimulatedHost};
use dr_tests::wait;
use jiff::Timestamp;
use serde_json::Value;

const NOT_BUILT: &str = "dr-coordinator or drctl is not built";
const DEADLINE: Duration = Duration::from_secs(240);

/// A fleet of simulated hosts `db-1`, `db-2`, … that are connected.
struct Hosts {
    fleet: Fleet,
    hosts: Vec<SimulatedHost>,
}

impl Hosts {
    async fn start(count: usize) -> Option<Self> {
        let fleet = Fleet::start()?;
        let mut hosts = Vec::new();
        for number in 1..=count {
            let name = format!("db-{number}");
            let mut host = SimulatedHost::new(&fleet.pki(), fleet.path(), &name, fleet.address());
            host.start();
            hosts.push(host);
        }
        let hosts = Self { fleet, hosts };
        hosts
            .until(|this| this.hosts.iter().all(|host| host.welcomes() > 0))
            .await;
        Some(hosts)
    }

    async fn until(&self, satisfied: impl Fn(&Self) -> bool) {
        wait::until_beside(DEADLINE, || match satisfied(self) {
            true => Ok(()),
            false => Err(format!(
                "the hosts are not where they should be: {:#?}",
                self.hosts
            )),
        })
        .await;
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.fleet.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    #[track_caller]
    fn apply(&self, name: &str, text: &str) {
        let file = self.file(&format!("{name}.toml"), &plan(name, text));
        let _applied = self.fleet.drctl(&["plan", "apply", &file]).expect_code(0);
    }

    /// Runs a plan to its end and gives what `run show` says of it, which is not always a success.
    #[track_caller]
    fn run(&self, name: &str) -> Value {
        let run = self.fleet.ask(&["run", "start", name]);
        let run = run["run"]["id"].as_str().expect("a run has an id").to_owned();
        let _code = self.fleet.drctl(&["run", "watch", &run]);
        self.fleet.ask(&["run", "show", &run])
    }
}

fn plan(name: &str, text: &str) -> String {
    format!("schema = 1\nname = \"{name}\"\n{text}")
}

/// Host → what is said of it.
fn by_host(list: &Value, key: &str) -> BTreeMap<String, Value> {
    let list = list
        .as_array()
        .unwrap_or_else(|| panic!("a list is expected: {list:#}"));
    let host = |entry: &Value| entry["host"].as_str().expect("a host").to_owned();
    list.iter()
        .map(|entry| (host(entry), entry[key].clone()))
        .collect()
}

fn states(run: &Value) -> BTreeMap<String, String> {
    let states = by_host(&run["tasks"], "state").into_iter();
    states
        .map(|(host, state)| (host, state.as_str().expect("a state").to_owned()))
        .collect()
}

#[test]
fn a_plan_with_errors_is_refused_with_all_of_them() {
    let case = "a_plan_with_errors_is_refused_with_all_of_them";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let file = fleet.path().join("wrong.toml");
    let name = file.display().to_string();
    let text = "schema = 1\nname = \"weekly\"\nowners = \"ana\"\n[schedule]\ncron = \"0 3 * *\"\n[drill]\nkind = \"restor\"\n\
                [limits]\nretries = 99\n";
    std::fs::write(&file, text).unwrap();
    for command in [&["plan", "apply", &name][..], &["plan", "preview", &name]] {
        let refused = fleet.drctl(command).expect_code(78);
        refused.expect_said(&[
            &format!("{name}:3: `owners`: unknown key `owners` (did you mean `owner`?)"),
            &format!("{name}:5: `schedule.cron`:"),
            &format!("{name}:7: `drill.kind`: unknown value `restor` (did you mean `restore`?)"),
            &format!("{name}:9: `limits.retries`: `99` is not from 0 to 10"),
            "has 4 errors",
        ]);
    }
    // One good file beside a bad one: nothing is half applied.
    let good = fleet.path().join("good.toml");
    std::fs::write(&good, plan("good", "[drill]\nkind = \"snapshot\"\n")).unwrap();
    let _refused = fleet
        .drctl(&["plan", "apply", &good.display().to_string(), &name])
        .expect_code(78);
    assert_eq!(fleet.ask(&["plan", "list"])["plans"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_is_what_the_run_then_does() {
    let case = "a_preview_is_what_the_run_then_does";
    let Some(hosts) = Hosts::start(6).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    hosts.apply(
        "weekly",
        "[[exclude]]\nhost = \"db-5\"\nreason = \"OPS-1\"\n\
         [[exclude]]\nhost = \"db-6\"\nreason = \"OPS-2\"\nuntil = \"2020-01-01\"\n\
         [schedule]\ncron = \"0 3 1 1 *\"\njitter = \"1s\"\n\
         [drill]\nkind = \"verify\"\non = \"host=db-1\"\n[waves]\nsizes = [\"1\", \"50 %\", \"100 %\"]\n",
    );
    let preview = hosts.fleet.ask(&["plan", "preview", "weekly"]);
    assert_eq!(
        by_host(&preview["excluded"], "reason")
            .into_iter()
            .collect::<Vec<_>>()
            .len(),
        1,
        "db-6 takes part again, for its exclusion has ended: {preview:#}"
    );
    assert!(
        by_host(&preview["excluded"], "reason")["db-5"]
            .as_str()
            .unwrap()
            .contains("OPS-1")
    );
    let run = hosts.run("weekly");
    assert_eq!(run["run"]["state"], "passed", "{run:#}");
    let hosts_of_preview = by_host(&preview["hosts"], "work");
    assert_eq!(
        hosts_of_preview.keys().collect::<Vec<_>>(),
        ["db-1", "db-2", "db-3", "db-4", "db-6"]
    );
    for key in ["on", "work"] {
        assert_eq!(
            by_host(&preview["hosts"], key),
            by_host(&run["tasks"], key),
            "{key}"
        );
    }
    // Waves are drawn anew for each slot, so that not always the same host is first: their sizes are what was promised.
    let sizes = |list: &Value| {
        let mut sizes = BTreeMap::<u64, usize>::new();
        for wave in by_host(list, "wave").values() {
            *sizes.entry(wave.as_u64().expect("a wave")).or_default() += 1;
        }
        sizes
    };
    assert_eq!(sizes(&preview["hosts"]), sizes(&run["tasks"]));
    assert_eq!(sizes(&run["tasks"]).len(), 3, "{run:#}");
    assert!(
        by_host(&run["tasks"], "on").values().all(|on| on == "db-1"),
        "the only runner does all the work"
    );
    let executed: usize = hosts.hosts.iter().map(|host| host.executions().len()).sum();
    assert_eq!(executed, 5, "each was asked once");
    assert_eq!(hosts.hosts[0].executions().len(), 5, "and all by the runner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waves_stop_where_too_much_fails_and_retry_takes_the_rest() {
    let case = "waves_stop_where_too_much_fails_and_retry_takes_the_rest";
    let Some(hosts) = Hosts::start(6).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    hosts.apply(
        "careful",
        "[drill]\nkind = \"verify\"\n[waves]\nsizes = [\"2\", \"100 %\"]\nstop_failed = \"10 %\"\n",
    );
    hosts
        .hosts
        .iter()
        .for_each(|host| host.behave(Behaviour::End(TaskState::Failed)));
    let run = hosts.run("careful");
    assert_eq!(run["run"]["state"], "failed", "{run:#}");
    let of_wave = by_host(&run["tasks"], "wave");
    for (host, state) in states(&run) {
        let wanted = if of_wave[&host] == 1 {
            "failed"
        } else {
            "cancelled"
        };
        assert_eq!(state, wanted, "{host} of wave {}", of_wave[&host]);
    }
    let asked: usize = hosts.hosts.iter().map(|host| host.executions().len()).sum();
    assert_eq!(asked, 2, "nobody of the second wave was asked");
    let explained = by_host(&run["tasks"], "explanation");
    assert!(
        explained
            .values()
            .all(|why| why.as_str().is_some_and(|why| !why.is_empty())),
        "every state is explained: {explained:#?}"
    );

    hosts
        .hosts
        .iter()
        .for_each(|host| host.behave(Behaviour::End(TaskState::Passed)));
    let id = run["run"]["id"].as_str().unwrap();
    let again = hosts.fleet.ask(&["run", "retry", id, "--wait"]);
    assert_eq!(again["run"]["state"], "passed", "{again:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_comes_after_another_follows_each_of_its_runs() {
    let case = "a_plan_that_comes_after_another_follows_each_of_its_runs";
    let Some(hosts) = Hosts::start(2).await else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    hosts.apply("nightly", "[drill]\nkind = \"snapshot\"\n");
    hosts.apply(
        "proof",
        "[schedule]\nafter = \"nightly\"\n[drill]\nkind = \"verify\"\n",
    );
    let first = hosts.run("nightly");
    assert_eq!(first["run"]["state"], "passed", "{first:#}");
    let followed = wait::until_beside(DEADLINE, || {
        let runs = hosts.fleet.ask(&["run", "list"]);
        let mut of_proof = runs["runs"].as_array().expect("a list of runs").iter();
        let done = of_proof.find(|run| run["plan"] == "proof" && run["state"] == "passed");
        done.cloned()
            .ok_or_else(|| format!("no run of `proof` followed: {runs:#}"))
    })
    .await;
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    assert!(
        time(&followed["started"]).expect("it was started")
            >= time(&first["run"]["finished"]).expect("it has ended"),
        "it begins when the first has ended: {followed:#} {first:#}"
    );
}

/// The plan that the documentation of the interface shows, to the letter.
const WEEKLY: &str = r#"schema = 1
name = "weekly-restore"
owner = "sre-data"
runbook = "https://runbooks.example.net/dr-restore"
select = { labels = "env=prod,tier in (gold,silver)", sources = ["*"] }
exclude = [ { host = "db-0007", reason = "OPS-4411", by = "ana", until = "2026-12-31" } ]
schedule = { cron = "0 3 * * SUN", timezone = "UTC", after = "nightly-snapshot", jitter = "2h", window = "8h", missed = "run-once" }
drill = { kind = "restore", snapshot = "latest", on = "self", loss = "deleted" }     # on = "role=drill-runner"; loss = moved | deleted | truncated | corrupted
checks = { bytes = { budget = "50 GiB", cycle = "30d" }, content = { cycle = "30d" }, queries = { recall_tolerance = 0.02 }, application = ["smoke"] }
waves = { sizes = ["1", "5 %", "100 %"], stop_failed = "2 %", stop_inconclusive = "20 %", coverage = "95 %" }
limits = { deadline = "4h", retries = 1, max_bytes = "20 TiB" }
"#;

#[test]
fn the_plan_that_the_interface_shows_is_put_in_force_as_it_stands() {
    let case = "the_plan_that_the_interface_shows_is_put_in_force_as_it_stands";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let file = fleet.path().join("weekly-restore.toml");
    std::fs::write(&file, WEEKLY).unwrap();
    let name = file.display().to_string();
    let _applied = fleet.drctl(&["plan", "apply", &name]).expect_code(0);
    fleet
        .drctl(&["plan", "show", "weekly-restore"])
        .expect_code(0)
        .expect_said(&["loss = \"deleted\"", "cycle = \"30d\""]);
}
