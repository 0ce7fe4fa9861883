//! Restores as an operator gives them: a table, a glob, and one that was killed and is given again.

use std::path::PathBuf;
use std::time::Duration;

use dr_tests::files;
use dr_tests::fixtures::{self, Unpacked};
use dr_tests::host::Host;
use dr_tests::process::Running;
use dr_tests::s3_server::S3Server;
use rustix::process::Signal;

/// What a shell sees of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

fn protected() -> Option<(Host, Unpacked)> {
    let host = Host::new()?;
    let unpacked = fixtures::small().last()?.unpack();
    let host = host
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log());
    host.set_up();
    let _snapshot = host.snapshot();
    Some((host, unpacked))
}

/// Relative paths of all files below a folder.
fn names(folder: &std::path::Path) -> Vec<PathBuf> {
    files::hashes(folder).into_keys().collect()
}

#[test]
fn a_table_or_a_glob_comes_back_alone() {
    let case = "a_table_or_a_glob_comes_back_alone";
    let Some((host, unpacked)) = protected() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let source = files::hashes(&unpacked.database());
    let restore = |more: &[&str]| {
        let to = host
            .path()
            .join("restored")
            .join(more.join("_").replace(['/', '*'], "_"));
        let text = to.display().to_string();
        let said = host.run(&[&["restore", "--to", &text][..], more].concat());
        (to, said)
    };
    for table in ["tool_calls", "tool_calls.lance"] {
        let (to, said) = restore(&["--table", table]);
        let _said = said.expect_code(0);
        assert_eq!(
            files::hashes(&to.join("memory"))
                .keys()
                .next()
                .unwrap()
                .iter()
                .next()
                .unwrap(),
            "tool_calls.lance"
        );
        for (path, hash) in files::hashes(&to.join("memory")) {
            assert!(path.starts_with("tool_calls.lance"), "{}", path.display());
            assert_eq!(source.get(&path), Some(&hash), "{}", path.display());
        }
        assert!(!to.join("audit").exists());
    }
    let (to, said) = restore(&["--source", "memory", "--path", "t*.lance/_versions"]);
    let _said = said.expect_code(0);
    let found = names(&to.join("memory"));
    assert!(!found.is_empty());
    for path in found {
        assert!(
            path.starts_with("tool_calls.lance/_versions"),
            "{}",
            path.display()
        );
    }
    let (_, said) = restore(&["--table", "tool_call"]);
    said.expect_code(66)
        .expect_said(&["tool_call", "it has", "tool_calls"]);
    let (to, said) = restore(&["--path", "nothing*"]);
    said.expect_code(66).expect_said(&["nothing is selected"]);
    assert!(!to.join("memory").exists());
}

#[test]
fn a_killed_restore_given_again_fetches_only_what_is_missing() {
    let case = "a_killed_restore_given_again_fetches_only_what_is_missing";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let whole = host.path().join("whole").display().to_string();
    let full = host
        .run(&["restore", "--to", &whole, "--output", "json"])
        .expect_code(0)
        .json();
    let fetched = full["bytes_fetched"].as_u64().unwrap();
    assert!(fetched > 0, "{full:#}");
    // After the first of two sources, and after both.
    for (point, everything) in [("restore.files.written", false), ("restore.staged", true)] {
        let to = host.path().join("again").join(point);
        let text = to.display().to_string();
        let _died = host
            .run_until(point, &["restore", "--to", &text])
            .expect_code(KILLED);
        host.run(&["restore", "--to", &text, "--dry-run"])
            .expect_code(0)
            .expect_said(&["goes on from", "memory.restoring-"]);
        let again = host
            .run(&["restore", "--to", &text, "--output", "json"])
            .expect_code(0)
            .json();
        let (kept, anew) = (
            again["bytes_resumed"].as_u64().unwrap(),
            again["bytes_fetched"].as_u64().unwrap(),
        );
        assert!(kept > 0 && anew < fetched, "after {point}: {again:#}");
        if everything {
            assert_eq!((kept, anew), (full["bytes"].as_u64().unwrap(), 0), "{again:#}");
        }
        assert_eq!(
            files::hashes(&to),
            files::hashes(&host.path().join("whole")),
            "after {point}"
        );
        assert_eq!(
            std::fs::read_dir(&to).unwrap().count(),
            2,
            "after {point}: nothing stays beside"
        );
    }
}

#[test]
fn another_restore_to_the_target_of_a_killed_one_does_not_take_its_files() {
    let case = "another_restore_to_the_target_of_a_killed_one_does_not_take_its_files";
    let Some((host, _unpacked)) = protected() else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let to = host.path().join("restored");
    let text = to.display().to_string();
    let _died = host
        .run_until(
            "restore.staged",
            &["restore", "--to", &text, "--source", "memory"],
        )
        .expect_code(KILLED);
    let part = ["restore", "--to", &text, "--table", "tool_calls"];
    host.run(&[&part[..], &["--dry-run"]].concat())
        .expect_code(0)
        .expect_said(&["removes what another restore left in", "memory.restoring-"]);
    let _done = host.run(&part).expect_code(0);
    assert!(
        names(&to.join("memory"))
            .iter()
            .all(|path| path.starts_with("tool_calls.lance"))
    );
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
}

/// Ctrl-C, and the same command again.
#[test]
fn a_restore_that_was_interrupted_goes_on_when_it_is_given_again() {
    let case = "a_restore_that_was_interrupted_goes_on_when_it_is_given_again";
    let (Some(host), Some(fixture), Ok(server)) = (
        Host::new(),
        fixtures::small().pop(),
        S3Server::with_bucket("acme"),
    ) else {
        return dr_tests::skip(case, "dr-agent is not built");
    };
    let unpacked = fixture.unpack();
    let mut host = host
        .with_repository("s3://acme/host-1")
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log())
        .with_lines(&format!(
            "\n[repository.s3]\nendpoint = {:?}\n",
            server.endpoint()
        ));
    for (name, value) in server.environment() {
        host = host.with_environment(name, &value);
    }
    host.set_up();
    let _taken = host.run(&["snapshot", "--no-facts"]).expect_code(0);
    let to = |name: &str| host.path().join(name).display().to_string();
    let (whole, again) = (to("whole"), to("again"));
    let full = host
        .run(&["restore", "--to", &whole, "--output", "json"])
        .expect_code(0)
        .json();
    let mut command = host.command(&["restore", "--to", &again]);
    command.env("DR_FAILPOINT_STOP", "restore.files.written");
    let running = Running::start(&mut command);
    running.until_stopped();
    // What the second source needs does not come before the signal does.
    server.delay(Duration::from_secs(60));
    running.signal(Signal::INT);
    running.signal(Signal::CONT);
    let stopped = running.finish(Duration::from_secs(120)).expect_code(130);
    stopped.expect_said(&["the same restore, given again, goes on"]);
    server.delay(Duration::ZERO);
    let resumed = host
        .run(&["restore", "--to", &again, "--output", "json"])
        .expect_code(0)
        .json();
    let figure = |report: &serde_json::Value, name: &str| report[name].as_u64().unwrap();
    assert!(figure(&resumed, "bytes_resumed") > 0, "{resumed:#}");
    assert!(
        figure(&resumed, "bytes_fetched") < figure(&full, "bytes_fetched"),
        "{resumed:#}"
    );
    assert_eq!(files::hashes(again.as_ref()), files::hashes(whole.as_ref()));
    assert_eq!(
        std::fs::read_dir(again).unwrap().count(),
        2,
        "nothing stays beside"
    );
}
