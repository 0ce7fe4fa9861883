//! The scripts that build servers run: for real, on good and on damaged repositories.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use dr_tests::fixtures::{self, Unpacked};
use dr_tests::fleet::{Agent, Fleet};
use dr_tests::host::Host;
use dr_tests::process::{Finished, run};
use dr_tests::{binaries, files};

const NOT_BUILT: &str = "dr-coordinator, drctl or dr-agent is not built";

fn script(name: &str) -> Command {
    let mut command = Command::new(dr_tests::checkout().join("deploy").join("scripts").join(name));
    for variable in [
        "DR_REPOSITORY",
        "DR_IDENTITY_FILE",
        "DRCTL_ENDPOINT",
        "DRCTL_CONTEXT",
        "GITHUB_STEP_SUMMARY",
    ] {
        command.env_remove(variable);
    }
    command
}

#[track_caller]
fn finish(command: &mut Command) -> Finished {
    run(command, Duration::from_secs(240))
}

/// A host with both kinds of sources and a snapshot.
fn host(fleet: Option<&Fleet>) -> Option<(Host, Unpacked)> {
    let unpacked = fixtures::small().last()?.unpack();
    let host = Host::new()?
        .with_name("db-1")
        .with_database("memory", &unpacked.database())
        .with_log("audit", &unpacked.log())
        .with_lines("\n[allow]\ndrills = [\"verify\", \"restore\"]\n");
    let host = match fleet {
        Some(fleet) => fleet.enrol(host, &["env=test"]),
        None => {
            host.set_up();
            host
        }
    };
    let _taken = host.snapshot();
    Some((host, unpacked))
}

#[test]
fn stand_alone_scripts_judge_their_kind_from_the_bucket_and_a_key() {
    let case = "stand_alone_scripts_judge_their_kind_from_the_bucket_and_a_key";
    let Some((host, _unpacked)) = host(None) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let (Some(agent), Some(_)) = (binaries::agent(), binaries::probe()) else {
        return dr_tests::skip(case, "dr-probe is not built");
    };
    // The machine that drills has never seen the host: it has the bucket and the recovery key.
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let drill = |name: &str, junit: &PathBuf| {
        let mut command = script(name);
        command
            .arg("--junit")
            .arg(junit)
            .env("DR_AGENT", &agent)
            .env("DR_REPOSITORY", host.repository())
            .env("DR_IDENTITY_FILE", host.recovery_key())
            .env("TMPDIR", folder.path())
            .env("GITHUB_STEP_SUMMARY", file("summary.md"));
        command
    };
    for (name, mine, other) in [
        ("drill-lancedb.sh", "memory", "audit"),
        ("drill-auditlog.sh", "audit", "memory"),
    ] {
        let junit = file(&format!("{name}.xml"));
        let good = finish(&mut drill(name, &junit)).expect_code(0);
        good.expect_said(&[&format!("{name}: restore drill of"), ": passed"]);
        let cases = std::fs::read_to_string(&junit).unwrap();
        assert!(
            cases.contains(&format!("\"{mine}")) && !cases.contains(&format!("\"{other}")),
            "{cases}"
        );
    }
    let summary = std::fs::read_to_string(file("summary.md")).unwrap();
    assert!(summary.matches("passed").count() > 1, "{summary}");

    files::riddle(&host.repository_dir().join("packs"));
    for name in ["drill-lancedb.sh", "drill-auditlog.sh"] {
        let junit = file("red.xml");
        let red = finish(&mut drill(name, &junit));
        assert!(matches!(red.code(), 1 | 65), "{red:?}");
        red.expect_said(&[name]);
        assert!(!red.stdout.ends_with(": passed\n"), "{red:?}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("drill."))
        .collect();
    assert_eq!(
        left,
        Vec::<String>::new(),
        "the state folder goes with the script"
    );
}

#[test]
fn scripts_go_through_the_coordinator_and_fail_with_its_hosts() {
    let case = "scripts_go_through_the_coordinator_and_fail_with_its_hosts";
    let Some(fleet) = Fleet::start() else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let (Some((host, _unpacked)), Some(drctl)) = (host(Some(&fleet)), binaries::drctl()) else {
        return dr_tests::skip(case, NOT_BUILT);
    };
    let agent = Agent::start(&host);
    // The script gets what an operator's shell has: the variables that the command line gets.
    let drill = |name: &str, labels: &str, more: &[&str]| {
        let mut command = script(name);
        let like = fleet.drctl_command(&[]);
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .args(more)
            .env("DRCTL", &drctl)
            .env("DR_SELECT", labels)
            .env("GITHUB_STEP_SUMMARY", fleet.path().join("summary.md"));
        command
    };
    let junit = fleet.path().join("drill.xml");
    let junit = junit.to_str().unwrap();
    let good = finish(&mut drill("drill-auditlog.sh", "env=test", &["--junit", junit])).expect_code(0);
    good.expect_said(&[
        "drill-auditlog.sh: restore drill of audit-log sources",
        ": passed",
    ]);
    let cases = std::fs::read_to_string(junit).unwrap();
    assert!(cases.contains("audit") && !cases.contains("memory"), "{cases}");
    if binaries::probe().is_some() {
        let _good = finish(&mut drill("drill-lancedb.sh", "env=test", &["--kind", "verify"])).expect_code(0);
    }
    let nobody = finish(&mut drill("drill-auditlog.sh", "env=nowhere", &[]));
    assert_ne!(nobody.code(), 0, "a drill of no host proves nothing\n{nobody:?}");

    files::riddle(&host.repository_dir().join("packs"));
    for name in ["drill-auditlog.sh", "drill-lancedb.sh"] {
        let red = finish(&mut drill(name, "env=test", &[]));
        assert_eq!(red.code(), 1, "{red:?}");
        red.expect_said(&["FAILED"]);
    }
    let summary = std::fs::read_to_string(fleet.path().join("summary.md")).unwrap();
    assert!(summary.contains("db-1"), "{summary}");
    let _ended = agent.stop().expect_code(0);
}

#[test]
fn a_script_that_was_not_told_enough_says_so() {
    for (variables, said) in [
        (&[][..], "set DR_REPOSITORY"),
        (&[("DR_REPOSITORY", "file:///x")][..], "DR_IDENTITY_FILE"),
        (
            &[("DR_REPOSITORY", "file:///x"), ("DRCTL_ENDPOINT", "https://x")][..],
            "both set",
        ),
    ] {
        let mut command = script("drill-lancedb.sh");
        command.envs(variables.iter().copied());
        finish(&mut command).expect_code(64).expect_said(&[said]);
    }
    let mut command = script("drill-auditlog.sh");
    command
        .env("DRCTL_ENDPOINT", "https://x")
        .env("DRCTL", "/nonexistent/drctl");
    finish(&mut command)
        .expect_code(78)
        .expect_said(&["not installed"]);
    let mut command = script("drill-auditlog.sh");
    finish(command.arg("--nonsense"))
        .expect_code(64)
        .expect_said(&["--nonsense is not an option"]);
}
