//! Restores through the coordinator: onto other hosts, with and without their key; parts of a snapshot; only where the
//! host allows it; interrupted ones go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::fleet::{Agent, Fleet};
use dr_tests::host::Host;
use dr_tests::process::Finished;
use dr_tests::s3_server::S3Server;
use dr_tests::wait;
use serde_json::Value;

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";
const DEADLINE: Duration = Duration::from_secs(240);

/// The folder that a host allows restores into.
fn allowed(host: &Host) -> PathBuf {
    host.path().join("allowed")
}

/// A host of a fleet whose repositories lie side by side.
fn member(name: &str, repositories: &str) -> Option<Host> {
    let host = Host::new()?
        .with_name(name)
        .with_repository(&format!("{repositories}/{{host}}"));
    let folder = allowed(&host);
    std::fs::create_dir(&folder).unwrap();
    let lines = format!("\n[allow]\nrestore_into = [{:?}]\n", folder.display().to_string());
    Some(host.with_lines(&lines))
}

/// What the application has on `db-1`, as relative paths with hashes.
struct Live {
    database: BTreeMap<PathBuf, blake3::Hash>,
    logs: BTreeMap<PathBuf, blake3::Hash>,
}

impl Live {
    fn of(unpacked: &Unpacked) -> Self {
        Self {
            database: files::hashes(&unpacked.database()),
            logs: files::hashes(unpacked.log().parent().unwrap()),
        }
    }

    /// Whether a restored database is the one that the application has. A snapshot takes what the heads of the tables
    /// reference, so that histories that nobody can read any more are not among it; every file is as it was.
    #[track_caller]
    fn must_be(&self, restored: &Path) {
        let restored = files::hashes(restored);
        for (path, hash) in &restored {
            assert_eq!(self.database.get(path), Some(hash), "{}", path.display());
        }
        let data = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "manifest");
        let tables = |paths: &mut dyn Iterator<Item = &PathBuf>| -> BTreeSet<PathBuf> {
            let manifests = paths.filter(data);
            manifests
                .filter_map(|path| Some(path.parent()?.to_owned()))
                .collect()
        };
        assert_eq!(
            tables(&mut restored.keys()),
            tables(&mut self.database.keys()),
            "a head of every table"
        );
    }
}

/// `db-1` with a snapshot that `db-2` may open and `db-3` may not; agents run on the latter two.
struct Neighbours {
    fleet: Fleet,
    _unpacked: Unpacked,
    live: Live,
    with_key: (Host, Agent),
    without: (Host, Agent),
}

impl Neighbours {
    fn start() -> Option<Self> {
        let fleet = Fleet::start()?;
        let repositories = format!("file://{}", fleet.path().join("repositories").display());
        let with_key = fleet.enrol(member("db-2", &repositories)?, &[]);
        let without = fleet.enrol(member("db-3", &repositories)?, &[]);
        let unpacked = fixtures::small().last()?.unpack();
        let lost = member("db-1", &repositories)?
            .with_database("memory", &unpacked.database())
            .with_log("audit", &unpacked.log())
            .with_environment("DR_AGENT_REPOSITORY_RECOVERY_RECIPIENTS", &with_key.public_key());
        let lost = fleet.enrol(lost, &[]);
        let _taken = lost.run(&["snapshot", "--no-facts"]).expect_code(0);
        let live = Live::of(&unpacked);
        let agents = (Agent::start(&with_key), Agent::start(&without));
        Some(Self {
            fleet,
            _unpacked: unpacked,
            live,
            with_key: (with_key, agents.0),
            without: (without, agents.1),
        })
    }

    /// Restores from `db-1` to a folder of `db-2`, and gives the folder and the report.
    #[track_caller]
    fn restore(&self, folder: &str, more: &[&str]) -> (PathBuf, Value) {
        let to = allowed(&self.with_key.0).join(folder);
        let report = self.ask("start", &to, more);
        (to, report)
    }

    /// The report of `drctl restore plan` or of `start --wait`.
    #[track_caller]
    fn ask(&self, what: &str, to: &Path, more: &[&str]) -> Value {
        let asked = match what {
            "start" => self.restored("db-2", to, more),
            _ => self.give(what, "db-2", to, more),
        };
        asked.expect_code(0).json()["tasks"][0]["report"].clone()
    }

    /// `drctl restore start --wait` from `db-1` to a folder of a host, however it ends.
    fn restored(&self, host: &str, to: &Path, more: &[&str]) -> Finished {
        self.give("start", host, to, &[&["--wait"], more].concat())
    }

    fn give(&self, what: &str, host: &str, to: &Path, more: &[&str]) -> Finished {
        let to = to.display().to_string();
        let named = ["restore", what, "--from", "db-1", "--to-host", host, "--to", &to];
        self.fleet
            .drctl(&[&named[..], &["--output", "json"], more].concat())
    }
}

#[test]
fn a_neighbour_with_the_key_restores_all_a_source_a_table_or_a_glob() {
    let case = "a_neighbour_with_the_key_restores_all_a_source_a_table_or_a_glob";
    let Some(neighbours) = Neighbours::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let live = &neighbours.live;

    let (whole, report) = neighbours.restore("whole", &[]);
    live.must_be(&whole.join("memory"));
    assert_eq!(files::hashes(&whole.join("audit")), live.logs);
    let written = files::files(&whole).len() as u64;
    assert_eq!(
        report["files"].as_u64(),
        Some(written),
        "all that is there is in the report"
    );

    let (source, _) = neighbours.restore("source", &["--source", "audit"]);
    assert_eq!(files::hashes(&source.join("audit")), live.logs);
    assert!(!source.join("memory").exists(), "only the source that was named");

    let (table, _) = neighbours.restore("table", &["--table", "tool_calls"]);
    let of_table = files::hashes(&table.join("memory"));
    let mut expected = files::hashes(&whole.join("memory"));
    expected.retain(|path, _| path.starts_with("tool_calls.lance"));
    assert!(!of_table.is_empty());
    assert_eq!(of_table, expected, "the table as it is, and nothing of another");
    assert!(!table.join("audit").exists());

    let (glob, _) = neighbours.restore("glob", &["--source", "audit", "--path", "audit.log.*"]);
    let rotated: Vec<&PathBuf> = live
        .logs
        .keys()
        .filter(|path| *path != Path::new("audit.log"))
        .collect();
    let restored = files::hashes(&glob.join("audit"));
    assert_eq!(restored.keys().collect::<Vec<_>>(), rotated);
    assert!(restored.iter().all(|(path, hash)| live.logs[path] == *hash));

    let to = allowed(&neighbours.with_key.0).join("no-table");
    let missing = neighbours.restored("db-2", &to, &["--table", "nothing"]);
    assert_ne!(missing.code(), 0);
    missing.expect_said(&["nothing", "tool_calls"]);
    assert!(!to.exists());
}

#[test]
fn a_plan_is_what_the_restore_then_does() {
    let case = "a_plan_is_what_the_restore_then_does";
    let Some(neighbours) = Neighbours::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let to = allowed(&neighbours.with_key.0).join("planned");
    let table = ["--table", "tool_calls"];
    let plan = neighbours.ask("plan", &to, &table);
    assert!(!to.exists(), "a plan writes nothing");
    assert_eq!(
        files::files(&allowed(&neighbours.with_key.0)),
        Vec::<PathBuf>::new()
    );
    let done = neighbours.ask("start", &to, &table);
    for figure in ["snapshot", "files", "bytes"] {
        assert_eq!(plan[figure], done[figure], "{figure}");
        assert!(!plan[figure].is_null(), "{plan:#}");
    }
    let places = |list: &Value| -> Vec<(Value, Value)> {
        let places = list.as_array().expect("a list of places");
        places
            .iter()
            .map(|place| (place["source"].clone(), place["target"].clone()))
            .collect()
    };
    assert_eq!(places(&plan["placements"]), places(&done["placed"]));
    let written = files::files(&to.join("memory"));
    assert_eq!(plan["files"].as_u64(), Some(written.len() as u64));

    let again = neighbours.restored("db-2", &to, &table);
    assert_ne!(
        again.code(),
        0,
        "what stands at the target is not touched unasked"
    );
    again.expect_said(&["exists"]);
    let _exchanged = neighbours.ask("start", &to, &["--table", "tool_calls", "--existing", "entries"]);
}

#[test]
fn without_the_key_or_the_hosts_leave_nothing_is_restored() {
    let case = "without_the_key_or_the_hosts_leave_nothing_is_restored";
    let Some(neighbours) = Neighbours::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let denied = allowed(&neighbours.without.0).join("denied");
    let refused = neighbours.restored("db-3", &denied, &[]).expect_code(77);
    assert_eq!(refused.json()["tasks"][0]["cause"], "denied");
    refused.expect_said(&["key"]);
    assert!(!denied.exists());

    // The host's own file names one folder; nothing that a coordinator asks for leads out of it.
    let host = &neighbours.with_key.0;
    let outside = host.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, allowed(host).join("link")).unwrap();
    let dots = allowed(host).join("..").join("outside").join("x");
    for (target, why) in [
        (outside.join("x"), "restore_into"),
        (dots, ".."),
        (allowed(host).join("link").join("x"), "restore_into"),
        (PathBuf::from("/etc/drctl-must-not-be"), "restore_into"),
    ] {
        let refused = neighbours.restored("db-2", &target, &[]).expect_code(77);
        let task = &refused.json()["tasks"][0];
        assert_eq!(
            (&task["state"], &task["cause"]),
            (&"refused".into(), &"not_allowed".into())
        );
        let said = task["explanation"].as_str().expect("a refusal says why");
        assert!(said.contains(why), "{said}");
        assert!(!target.exists(), "{}", target.display());
    }
    assert_eq!(files::files(&outside), Vec::<PathBuf>::new());
}

/// `db-1` with a snapshot on an S3 server that can be made slow.
struct Remote {
    fleet: Fleet,
    server: S3Server,
    unpacked: Unpacked,
    host: Host,
}

impl Remote {
    /// With these sources: `memory`, the database, and `audit`, its log.
    fn with(sources: &[&str]) -> Option<Self> {
        let (fleet, server) = (Fleet::start()?, S3Server::with_bucket("acme").ok()?);
        let unpacked = fixtures::small().pop()?.unpack();
        let mut host = member("db-1", "s3://acme")?;
        for source in sources {
            host = match *source {
                "memory" => host.with_database("memory", &unpacked.database()),
                _ => host.with_log("audit", &unpacked.log()),
            };
        }
        let s3 = format!("\n[repository.s3]\nendpoint = {:?}\n", server.endpoint());
        host = host.with_lines(&s3);
        for (name, value) in server.environment() {
            host = host.with_environment(name, &value);
        }
        let host = fleet.enrol(host, &[]);
        let _taken = host.run(&["snapshot", "--no-facts"]).expect_code(0);
        Some(Self {
            fleet,
            server,
            unpacked,
            host,
        })
    }
}

/// Starts a restore and gives the run's id.
#[track_caller]
fn started(fleet: &Fleet, arguments: &[&str]) -> String {
    let started = fleet.ask(arguments);
    started["run"]["id"].as_str().expect("a run has an id").to_owned()
}

/// Waits until the run's only task satisfies a predicate.
#[track_caller]
fn until(fleet: &Fleet, run: &str, what: &str, satisfied: impl Fn(&Value) -> bool) -> Value {
    wait::until(DEADLINE, || {
        let task = fleet.ask(&["run", "show", run])["tasks"][0].clone();
        match satisfied(&task) {
            true => Ok(task),
            false => Err(format!("the task is still not {what}: {task:#}")),
        }
    })
}

#[test]
fn a_restore_that_was_killed_goes_on_with_what_is_missing() {
    let case = "a_restore_that_was_killed_goes_on_with_what_is_missing";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let repositories = format!("file://{}", fleet.path().join("repositories").display());
    let (Some(host), Some(fixture)) = (member("db-1", &repositories), fixtures::small().pop()) else {
        return dr_tests::skip(case, "no agent or no fixture");
    };
    let unpacked = fixture.unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    let host = fleet.enrol(host, &[]);
    let _taken = host.run(&["snapshot", "--no-facts"]).expect_code(0);

    // Dies when the first of two sources is written.
    let agent = Agent::start_until(&host, Some("restore.files.written"));
    let to = allowed(&host).join("resumed");
    let target = to.display().to_string();
    let run = started(&fleet, &["restore", "start", "--from", "db-1", "--to", &target]);
    let killed = agent.wait_for_end();
    assert_eq!(killed.code(), 137, "{killed:?}");
    assert!(
        !to.join("memory").exists() && !to.join("audit").exists(),
        "nothing is swapped in"
    );

    let agent = Agent::start(&host);
    let _interrupted = fleet.drctl(&["restore", "watch", &run]).expect_code(2);
    let task = until(&fleet, &run, "ended", |task| !task["finished"].is_null());
    assert!(!task["explanation"].is_null(), "the state is explained: {task:#}");
    let resumed = fleet.ask(&["restore", "resume", &run, "--wait"]);
    let report = &resumed["tasks"][0]["report"];
    let figure = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {report:#}"))
    };
    assert!(
        figure("bytes_resumed") > 0,
        "what was written is taken up: {report:#}"
    );
    assert!(
        figure("bytes_fetched") > 0 && figure("bytes_fetched") < figure("bytes"),
        "{report:#}"
    );
    let live = Live::of(&unpacked);
    live.must_be(&to.join("memory"));
    assert_eq!(files::hashes(&to.join("audit")), live.logs);
    let _ended = agent.stop().expect_code(0);
}

#[test]
fn a_restore_that_was_cancelled_leaves_the_target_alone_and_can_go_on() {
    let case = "a_restore_that_was_cancelled_leaves_the_target_alone_and_can_go_on";
    let Some(Remote {
        fleet,
        server,
        unpacked,
        host,
    }) = Remote::with(&["audit"])
    else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let agent = Agent::start(&host);

    // Slow enough that nobody can be done before the cancel; a cancel does not wait for answers.
    server.delay(Duration::from_secs(60));
    let to = allowed(&host).join("cancelled");
    let target = to.display().to_string();
    let run = started(&fleet, &["restore", "start", "--from", "db-1", "--to", &target]);
    let _at_work = until(&fleet, &run, "running", |task| task["state"] == "running");
    let _asked = fleet
        .drctl(&["restore", "cancel", &run, "--reason", "wrong host"])
        .expect_code(0);
    let _cancelled = fleet.drctl(&["restore", "watch", &run]).expect_code(2);
    let task = until(&fleet, &run, "ended", |task| !task["finished"].is_null());
    assert_eq!(task["state"], "cancelled", "{task:#}");
    assert!(
        task["explanation"]
            .as_str()
            .is_some_and(|why| why.contains("wrong host")),
        "{task:#}"
    );
    assert!(!to.join("audit").exists());

    server.delay(Duration::ZERO);
    let resumed = fleet.ask(&["restore", "resume", &run, "--wait"]);
    assert_eq!(resumed["tasks"][0]["state"], "passed");
    assert_eq!(files::hashes(&to.join("audit")), Live::of(&unpacked).logs);
    let _ended = agent.stop().expect_code(0);
}

#[test]
fn a_restore_that_was_cancelled_half_way_fetches_only_what_is_missing() {
    let case = "a_restore_that_was_cancelled_half_way_fetches_only_what_is_missing";
    let Some(Remote {
        fleet,
        server,
        unpacked,
        host,
    }) = Remote::with(&["memory", "audit"])
    else {
        return dr_tests::skip(case, NOT_BUILT);
    };

    // The first source is written; what the second needs does not come before the cancel does.
    let agent = Agent::start_stopping(&host, "restore.files.written");
    let to = allowed(&host).join("half-way");
    let target = to.display().to_string();
    let run = started(&fleet, &["restore", "start", "--from", "db-1", "--to", &target]);
    agent.until_stopped();
    server.delay(Duration::from_secs(60));
    agent.go_on();
    let _asked = fleet.drctl(&["restore", "cancel", &run]).expect_code(0);
    let task = until(&fleet, &run, "ended", |task| !task["finished"].is_null());
    assert_eq!(task["state"], "cancelled", "{task:#}");
    assert!(!to.join("memory").exists() && !to.join("audit").exists());
    server.delay(Duration::ZERO);
    let _ended = agent.stop();

    let agent = Agent::start(&host);
    let resumed = fleet.ask(&["restore", "resume", &run, "--wait"]);
    let report = &resumed["tasks"][0]["report"];
    let figure = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {report:#}"))
    };
    assert!(figure("bytes_resumed") > 0, "{report:#}");
    assert!(figure("bytes_fetched") < figure("bytes"), "{report:#}");
    let live = Live::of(&unpacked);
    live.must_be(&to.join("memory"));
    assert_eq!(files::hashes(&to.join("audit")), live.logs);
    let _ended = agent.stop().expect_code(0);
}
