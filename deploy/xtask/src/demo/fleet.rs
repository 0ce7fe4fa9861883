//! `cargo xtask demo`: a coordinator, three hosts and the command line, over mutual TLS on loopback.

mod member;
mod stage;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::member::Member;
use self::stage::Stage;
use super::{Beside, sample_data, toml_string};
use crate::terminal::{self, Stopwatch};
use crate::workspace::Workspace;

/// The hosts, and the labels that plans find them by.
const HOSTS: [(&str, &[&str]); 3] = [
    ("db-1", &["env=prod", "tier=gold"]),
    ("db-2", &["env=prod", "tier=silver"]),
    ("db-3", &["env=prod", "tier=silver"]),
];

/// What the fleet rehearses.
const PLAN: &str = r#"schema = 1
name = "weekly-restore"
owner = "demo"

[select]
labels = "env=prod"

[schedule]
cron = "0 3 * * SUN"

[drill]
kind = "restore"

[limits]
deadline = "10m"
"#;

/// Metrics that the demo shows of all that a scrape gives.
const SHOWN: [&str; 4] = [
    "dr_agents{",
    "dr_drills_total{",
    "dr_drill_last_verdict{",
    "dr_rto_seconds{",
];

/// Runs the main job of a fleet. The exit code is that of the first command that does not end well.
pub(super) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let watch = Stopwatch::start();
    let stage = Stage::set(workspace)?;
    terminal::step("make the fleet's certificate authority and start the coordinator");
    stage.make_authority()?;
    let (coordinator, stage) = stage.start_coordinator()?;
    let members = HOSTS.map(|(name, labels)| Member::new(&stage, name, labels));
    let mut beside = Vec::new();
    for member in &members {
        terminal::step(&format!(
            "{}: sample data, a busy writer, a token, a repository, the agent",
            member.name()
        ));
        beside.push(sample_data(&stage.binary("dr-sample"), &member.data())?);
    }
    // The last host first: the others' repositories open with its key as well, so that it can restore them.
    let mut guests = Vec::new();
    for member in members.iter().rev() {
        member.join(&stage, &guests)?;
        guests.push(member.public_key()?);
    }
    let mut agents = Vec::new();
    for member in &members {
        agents.push(member.start(&stage)?);
    }
    let code = rehearse(&stage, &members)?;
    drop(beside);
    terminal::step("end everything");
    for agent in agents {
        let status = agent.stop()?;
        ensure!(status.success(), "an agent ended with {status}");
    }
    let status = coordinator.stop()?;
    ensure!(status.success(), "the coordinator ended with {status}");
    close(&stage, code, &watch);
    Ok(ExitCode::from(code))
}

/// The operator's part.
fn rehearse(stage: &Stage, members: &[Member; 3]) -> Result<u8> {
    let plan = stage.write_plan(PLAN)?;
    let target = members[2].restore_dir().display().to_string();
    let acts: [(&str, &[&str]); 8] = [
        ("the fleet", &["agent", "list"]),
        ("put a plan in force", &["plan", "apply", &plan]),
        (
            "what its next run would do",
            &["plan", "preview", "weekly-restore"],
        ),
        (
            "snapshot every host",
            &["snapshot", "create", "--select", "*", "--wait"],
        ),
        (
            "again: only what changed is stored",
            &["snapshot", "create", "--select", "*", "--wait"],
        ),
        (
            "rehearse the loss of every host, now instead of on Sunday",
            &["run", "start", "weekly-restore", "--wait", "--verbose"],
        ),
        (
            "restore one table of db-1 onto db-3",
            &[
                "restore",
                "start",
                "--from",
                "db-1",
                "--source",
                "memory",
                "--table",
                "memory",
                "--to-host",
                "db-3",
                "--to",
                &target,
                "--wait",
                "--verbose",
            ],
        ),
        ("readiness, worst first", &["status"]),
    ];
    for (title, arguments) in acts {
        let code = stage.drctl(title, arguments)?;
        if code != 0 {
            return Ok(code);
        }
    }
    terminal::step("what Prometheus would scrape of the coordinator (a part)");
    let metrics = scrape(stage.metrics())?;
    for line in metrics
        .lines()
        .filter(|line| SHOWN.iter().any(|start| line.starts_with(start)))
    {
        terminal::result(line);
    }
    ensure!(
        metrics.contains("dr_build_info"),
        "the scrape does not say which build it is of"
    );
    Ok(0)
}

/// `GET /metrics`, as any HTTP client does it.
fn scrape(address: &str) -> Result<String> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("limit how long a scrape takes")?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .context("ask for metrics")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read metrics")?;
    ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "the scrape was refused: {answer}"
    );
    Ok(answer)
}

fn close(stage: &Stage, code: u8, watch: &Stopwatch) {
    let verdict = if code == 0 {
        "passed: three hosts came back, and one table on another host".to_owned()
    } else {
        format!("not passed: exit code {code}")
    };
    terminal::result("");
    terminal::result(&format!(
        "Demo {verdict}; {:.0} s without the build.",
        watch.seconds()
    ));
    terminal::result(&format!("Everything lies in {}", stage.folder().display()));
    terminal::result(
        "One host alone: cargo xtask demo --one-host; damage on purpose: cargo xtask demo --damage",
    );
}
