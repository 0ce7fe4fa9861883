//! What a coordinator costs: memory for each attached agent, CPU time while nothing happens, and how long it takes to
//! hand out a run to the whole fleet and to file what comes back.
//!
//! # Overview
//!
//! The coordinator is the real program in a process of its own, so that its figures are the kernel's. Agents are
//! [`SimulatedHost`]s of this process: real streams over mutual TLS, and no work behind them. What is measured is the
//! coordinator, on a machine that it shares with its agents.

mod process;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use dr_tests::fleet::Fleet;
use dr_tests::fleet::simulated::SimulatedHost;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::time::Instant;

use crate::process::Usage;

/// How long all agents may take to attach, and a run to end.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the fleet is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(20);
/// Hosts that dial at the same time: each handshake costs this process a signature, too.
const DIALLING: usize = 50;

#[derive(Debug, Parser)]
#[command(about = "Measures what a coordinator costs")]
struct Arguments {
    /// How many agents attach
    #[arg(long, default_value_t = 1_000)]
    agents: u32,
    /// For how many seconds nothing happens while CPU time is counted
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Where the figures go as JSON
    #[arg(long, default_value = "bench-fleet.json")]
    json: PathBuf,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Figures {
    agents: u32,
    cores: usize,
    attach_all_seconds: f64,
    resident_alone_bytes: u64,
    resident_attached_bytes: u64,
    resident_per_agent_bytes: u64,
    idle_cpu_share_of_one_core: f64,
    handed_out_all_seconds: f64,
    filed_all_seconds: f64,
    hand_out_p50_seconds: f64,
    hand_out_p99_seconds: f64,
    run_cpu_seconds: f64,
    resident_after_run_bytes: u64,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    raise_descriptors(arguments.agents)?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let figures = runtime.block_on(fleet(arguments))?;
    let json = serde_json::to_string_pretty(&figures).context("write figures as JSON")?;
    std::fs::write(&arguments.json, &json).with_context(|| format!("write {}", arguments.json.display()))?;
    print(&figures);
    say(&format!("Figures as JSON: {}", arguments.json.display()));
    Ok(())
}

async fn fleet(arguments: &Arguments) -> Result<Figures> {
    let limits = format!(
        "limits = {{ tasks = {agents}, per_host = 1 }}\nagents = {{ heartbeat = \"15s\", lost_after = \"90s\" }}\n",
        agents = arguments.agents
    );
    let fleet = Fleet::start_with(&limits).context("find dr-coordinator and drctl beside this program")?;
    let coordinator = fleet.id();
    let alone = Usage::of(coordinator)?;
    say(&format!("attach {} agents", arguments.agents));
    let started = Instant::now();
    let mut hosts = Vec::new();
    for number in 0..arguments.agents {
        let mut host = SimulatedHost::new(
            &fleet.pki(),
            fleet.path(),
            &format!("sim-{number:05}"),
            fleet.address(),
        );
        host.start();
        hosts.push(host);
        // Certificates are issued one by one; no more than a few hosts are dialling at any time.
        until(|| hosts.iter().filter(|host| host.welcomes() == 0).count() < DIALLING).await?;
    }
    until(|| hosts.iter().all(|host| host.welcomes() > 0)).await?;
    let attach_all = started.elapsed();
    let attached = Usage::of(coordinator)?;
    say(&format!("nothing happens for {} s", arguments.idle));
    tokio::time::sleep(Duration::from_secs(arguments.idle)).await;
    let idle = Usage::of(coordinator)?;
    say("one run over all of them");
    let asked = Instant::now();
    let run = fleet.ask(&["snapshot", "create", "--select", "*"]);
    let id = run["run"]["id"].as_str().context("find the run's id")?.to_owned();
    until(|| hosts.iter().all(|host| !host.executions().is_empty())).await?;
    let handed_out = asked.elapsed();
    let _ended = fleet.drctl(&["run", "watch", &id]).expect_code(0);
    let filed = asked.elapsed();
    let done = Usage::of(coordinator)?;
    let waits = waits(&fleet.ask(&["run", "show", &id]))?;
    ensure!(
        waits.len() == hosts.len(),
        "{} of {} hosts are in the run",
        waits.len(),
        hosts.len()
    );
    Ok(Figures {
        agents: arguments.agents,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        attach_all_seconds: attach_all.as_secs_f64(),
        resident_alone_bytes: alone.resident,
        resident_attached_bytes: attached.resident,
        resident_per_agent_bytes: attached.resident.saturating_sub(alone.resident)
            / u64::from(arguments.agents.max(1)),
        idle_cpu_share_of_one_core: (idle.cpu - attached.cpu)
            / Duration::from_secs(arguments.idle.max(1)).as_secs_f64(),
        handed_out_all_seconds: handed_out.as_secs_f64(),
        filed_all_seconds: filed.as_secs_f64(),
        hand_out_p50_seconds: percentile(&waits, 50),
        hand_out_p99_seconds: percentile(&waits, 99),
        run_cpu_seconds: done.cpu - idle.cpu,
        resident_after_run_bytes: done.resident,
    })
}

/// Waits until `enough` holds.
async fn until(enough: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !enough() {
        if started.elapsed() > PATIENCE {
            bail!("the fleet did not get there within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

/// How long each task waited until its agent began, in seconds, shortest first.
fn waits(detail: &serde_json::Value) -> Result<Vec<f64>> {
    let tasks = detail["tasks"].as_array().context("find the run's tasks")?;
    let moment = |task: &serde_json::Value, key: &str| -> Result<Timestamp> {
        let text = task[key]
            .as_str()
            .with_context(|| format!("find `{key}` of a task"))?;
        text.parse()
            .with_context(|| format!("read `{key}` of a task: {text}"))
    };
    let mut waits = tasks
        .iter()
        .map(|task| {
            Ok(moment(task, "started")?
                .duration_since(moment(task, "queued")?)
                .as_secs_f64())
        })
        .collect::<Result<Vec<f64>>>()?;
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

/// The value that `percent` of all do not pass; 0 of none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

/// Both sides of a connection count where they are made, and the coordinator inherits the limit.
fn raise_descriptors(agents: u32) -> Result<()> {
    let wanted = u64::from(agents) * 4 + 1_000;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(limit.maximum.map_or(wanted, |most| most.min(wanted))),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).context("raise the limit of open descriptors")?;
    }
    Ok(())
}

fn print(figures: &Figures) {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    say(&format!("agents                       {:>10}", figures.agents));
    say(&format!(
        "attach all                   {:>10.1} s",
        figures.attach_all_seconds
    ));
    say(&format!(
        "memory alone                 {:>10.1} MiB",
        mebibytes(figures.resident_alone_bytes)
    ));
    say(&format!(
        "memory with all attached     {:>10.1} MiB",
        mebibytes(figures.resident_attached_bytes)
    ));
    say(&format!(
        "  for each agent             {:>10.1} KiB",
        figures.resident_per_agent_bytes as f64 / 1024.0
    ));
    say(&format!(
        "idle, share of one core      {:>10.2} %",
        figures.idle_cpu_share_of_one_core * 100.0
    ));
    say(&format!(
        "a run handed out to all      {:>10.2} s",
        figures.handed_out_all_seconds
    ));
    say(&format!(
        "  waiting time, median       {:>10.2} s",
        figures.hand_out_p50_seconds
    ));
    say(&format!(
        "  waiting time, 99 of 100    {:>10.2} s",
        figures.hand_out_p99_seconds
    ));
    say(&format!(
        "all results filed            {:>10.2} s",
        figures.filed_all_seconds
    ));
    say(&format!(
        "  CPU time                   {:>10.2} s",
        figures.run_cpu_seconds
    ));
    say(&format!(
        "memory after the run         {:>10.1} MiB",
        mebibytes(figures.resident_after_run_bytes)
    ));
}

fn say(line: &str) {
    // Nobody has to listen; the figures are in the file, too.
    let _closed = writeln!(std::io::stdout(), "{line}");
}
