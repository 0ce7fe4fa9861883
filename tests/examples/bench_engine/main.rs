//! The engine's throughput, CPU time and peak memory beside restic and rclone, on the same data and the same store.
//!
//! # Overview
//!
//! Each contestant runs as a process of its own, so that its CPU time and memory are the kernel's figures and not its
//! own; this driver starts itself again for our part. No Lance is linked: what is measured is the vault.
//!
//! # Layout
//!
//! [`data`] makes the files, [`measure`] runs and watches a process, [`contestants`] knows the command lines,
//! [`engine`] is our part.

mod contestants;
mod data;
mod engine;
mod measure;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use dr_tests::s3_server::S3Server;

use crate::contestants::{Contestant, Place};
use crate::measure::{Measured, measure};

/// The most memory that the engine may take, whatever the size of the data.
const MEMORY_LIMIT: u64 = 300 << 20;

#[derive(Debug, Parser)]
#[command(about = "Measures the engine beside restic and rclone")]
struct Arguments {
    /// Bytes of data, in MiB
    #[arg(long, default_value_t = 4096)]
    mebibytes: u64,
    /// The store: a local folder, or an S3 server on the loopback interface
    #[arg(long, value_enum, default_value_t)]
    store: Store,
    /// Where data and repositories are made; needs three times the size of the data
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// Where the figures go as JSON
    #[arg(long, default_value = "bench-engine.json")]
    json: PathBuf,
    #[command(subcommand)]
    part: Option<engine::Part>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    #[default]
    Local,
    S3,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.part {
        Some(part) => engine::run(part),
        None => compare(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One measurement of the table.
#[derive(Debug, serde::Serialize)]
struct Row {
    contestant: String,
    act: &'static str,
    mebibytes_per_second: f64,
    #[serde(flatten)]
    measured: Measured,
    stored_bytes: u64,
}

/// Runs every contestant through every act.
fn compare(arguments: &Arguments) -> Result<()> {
    let base = arguments.work_dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder =
        tempfile::tempdir_in(&base).with_context(|| format!("make a folder in {}", base.display()))?;
    let source = folder.path().join("data");
    let bytes = arguments.mebibytes << 20;
    say(&format!(
        "making {} MiB of data in {}",
        arguments.mebibytes,
        source.display()
    ));
    data::make(&source, bytes)?;
    let server = match arguments.store {
        Store::Local => None,
        Store::S3 => Some(S3Server::with_bucket("bench").context("start the S3 server")?),
    };
    let place = Place {
        folder: folder.path(),
        source: &source,
        server: server.as_ref(),
    };
    let mut rows = Vec::new();
    for contestant in Contestant::all() {
        match contestant.missing() {
            Some(reason) => say(&format!("{}: left out, {reason}", contestant.name())),
            None => rows.extend(run_one(contestant, &place, bytes)?),
        }
    }
    let ratios = ratios(&rows);
    print(&rows, &ratios)?;
    let text = serde_json::to_string_pretty(&serde_json::json!({
        "mebibytes": arguments.mebibytes,
        "store": format!("{:?}", arguments.store).to_lowercase(),
        "rows": rows,
        "ratios": ratios,
    }))?;
    std::fs::write(&arguments.json, text + "\n")
        .with_context(|| format!("write {}", arguments.json.display()))?;
    say(&format!("figures: {}", arguments.json.display()));
    keep_to_memory(&rows)
}

/// One contestant: store, store again with nothing changed, restore.
fn run_one(contestant: Contestant, place: &Place<'_>, bytes: u64) -> Result<Vec<Row>> {
    if let Some(mut prepare) = contestant.prepare(place)? {
        measure(&mut prepare).with_context(|| format!("prepare {}", contestant.name()))?;
    }
    let mut rows = Vec::new();
    for (act, mut command) in contestant.acts(place)? {
        let measured = measure(&mut command).with_context(|| format!("{act} with {}", contestant.name()))?;
        rows.push(Row {
            contestant: contestant.name(),
            act,
            mebibytes_per_second: mebibytes(bytes) / measured.seconds,
            measured,
            stored_bytes: data::size_of(&contestant.stored(place))?,
        });
    }
    contestant
        .prove(place)
        .with_context(|| format!("compare what {} restored", contestant.name()))?;
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the engine takes, as a part of what another takes for the same in the same run: below 1 is less.
#[derive(Debug, serde::Serialize)]
struct Ratio {
    act: &'static str,
    to: String,
    seconds: f64,
    cpu_seconds: f64,
    stored_bytes: f64,
}

fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let engine = Contestant::Engine.name();
    let ours = |act: &str| rows.iter().find(|row| row.contestant == engine && row.act == act);
    let others = rows.iter().filter(|row| row.contestant != engine);
    others
        .filter_map(|row| {
            let ours = ours(row.act)?;
            Some(Ratio {
                act: row.act,
                to: row.contestant.clone(),
                seconds: ours.measured.seconds / row.measured.seconds,
                cpu_seconds: ours.measured.cpu_seconds / row.measured.cpu_seconds,
                stored_bytes: mebibytes(ours.stored_bytes) / mebibytes(row.stored_bytes),
            })
        })
        .collect()
}

fn print(rows: &[Row], ratios: &[Ratio]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<16} {:<16} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "contestant", "act", "seconds", "MiB/s", "CPU s", "peak MiB", "stored MiB"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16} {:<16} {:>10.1} {:>10.0} {:>10.1} {:>12.0} {:>12.0}",
            row.contestant,
            row.act,
            row.measured.seconds,
            row.mebibytes_per_second,
            row.measured.cpu_seconds,
            mebibytes(row.measured.peak_bytes),
            mebibytes(row.stored_bytes),
        )?;
    }
    writeln!(out)?;
    for ratio in ratios {
        writeln!(
            out,
            "{}: {:.2} of {}'s time, {:.2} of its CPU time, {:.2} of its stored bytes",
            ratio.act, ratio.seconds, ratio.to, ratio.cpu_seconds, ratio.stored_bytes
        )?;
    }
    Ok(())
}

fn keep_to_memory(rows: &[Row]) -> Result<()> {
    let ours = rows
        .iter()
        .filter(|row| row.contestant == Contestant::Engine.name());
    let most = ours.map(|row| row.measured.peak_bytes).max().unwrap_or(0);
    if most > MEMORY_LIMIT {
        bail!(
            "the engine took {:.0} MiB of memory, {:.0} are allowed",
            mebibytes(most),
            mebibytes(MEMORY_LIMIT)
        );
    }
    Ok(())
}

/// Progress for people; a closed terminal is no reason to stop.
fn say(what: &str) {
    let _closed = writeln!(std::io::stderr(), "{what}");
}
