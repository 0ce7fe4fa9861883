//! From `main` to a command and back to an exit code: the command line, the configuration, the runtime, signals,
//! panics.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use dr_telemetry::sampling::Shares;
use dr_telemetry::{LogFormat, Otlp};
use dr_terminal::start;
use dr_vault::clock::SystemClock;
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use tracing_subscriber::EnvFilter;

use super::{Cli, Command, Global, evidence};
use crate::config::{self, Config, DEFAULT_PATH, Surroundings};
use crate::error::{self, Doing, Failure, Outcome, in_one_line};
use crate::exit::Code;
use crate::key;
use crate::limits;
use crate::session::Session;
use crate::stop::Stop;
use crate::ui::{LogWriter, Options, Ui};

/// Runs the process's command line.
pub fn main() -> ExitCode {
    start::guarded("dr-agent", env!("CARGO_PKG_VERSION"), run)
}

fn run(arguments: &[OsString]) -> Code {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return start::misunderstood(&error, arguments),
    };
    let ui = Ui::new(cli.global.ui());
    if !cli.command.is_daemon() {
        start_logging(&cli.global, &ui);
    }
    let (outcome, stop) = with_runtime(cli, &ui);
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if let Err(error) = evidence::publish_failure(ui.is_ci(), &failure) {
                ui.warn(&format!("the step summary could not be written: {error}"));
            }
            error::report(&failure, &ui, &stop);
            error::code(&failure, &stop)
        }
    }
}

fn start_logging(global: &Global, ui: &Ui) {
    let level = match (global.quiet || ui.is_json(), global.verbose) {
        (true, 0) => "error",
        (_, 0) => "warn",
        (_, 1) => "warn,dr_agent=info,dr_vault=info,dr_lance=info,dr_auditlog=info",
        (_, _) => "info,dr_agent=debug,dr_vault=debug,dr_lance=debug,dr_auditlog=debug",
    };
    let filter = EnvFilter::new(log_filter().unwrap_or_else(|| level.to_owned()));
    let writer = LogWriter(ui.clone());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .with_target(global.verbose > 1);
    if subscriber.try_init().is_err() {
        ui.warn("logging was set up before; DR_AGENT_LOG has no effect");
    }
}

/// Loads the configuration and runs the command in a runtime of its own.
fn with_runtime(cli: Cli, ui: &Ui) -> (Outcome, Stop) {
    let stopped_never = Stop::default();
    let config = match load(&cli.global, &cli.command) {
        Ok(config) => config,
        Err(failure) => return (Err(failure), stopped_never),
    };
    if cli.command.works() && !cli.global.full_speed {
        for error in limits::lower(config.limits.cpu) {
            ui.warn(&format!(
                "the host's own work does not come first: {}",
                in_one_line(&error)
            ));
        }
    }
    let runtime = match runtime(&config) {
        Ok(runtime) => runtime,
        Err(error) => return (Err(error.into()), stopped_never),
    };
    let ran = runtime.block_on(async {
        let stop = match Stop::listen() {
            Ok(stop) => stop,
            Err(error) => {
                return (
                    Err(error).doing(|| "listen for signals".to_owned()),
                    Stop::default(),
                );
            }
        };
        let outcome = if cli.command.is_daemon() {
            daemon(cli, config, stop.clone()).await
        } else {
            command(cli, config, ui.clone(), stop.clone()).await
        };
        (outcome, stop)
    });
    // Threads that still wait for a slow disk or store must not hold up the end.
    runtime.shutdown_background();
    ran
}

/// The daemon's log is for collectors, and what its jobs say is part of it.
async fn daemon(cli: Cli, config: Config, stop: Stop) -> Outcome {
    let _telemetry = dr_telemetry::start(dr_telemetry::Options {
        service: "dr-agent",
        version: env!("CARGO_PKG_VERSION"),
        instance: config.agent.host.clone(),
        filter: log_filter().unwrap_or_else(|| daemon_level(&cli.global).to_owned()),
        logs: LogFormat::Auto,
        otlp: config.telemetry.as_ref().map(|telemetry| Otlp {
            endpoint: telemetry.otlp.clone(),
            shares: Shares {
                all: telemetry.sample,
                failed: telemetry.sample_failed,
            },
            judged: config.coordinator.is_some(),
        }),
    })
    .doing(|| "start logging".to_owned())?;
    let options = Options {
        ci: true,
        ..Options::default()
    };
    let ui = Ui::into_sinks(options, std::io::stdout(), LogLines::default());
    command(cli, config, ui, stop).await
}

fn daemon_level(global: &Global) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, _) => "info,dr_agent=debug,dr_vault=debug,dr_lance=debug,dr_auditlog=debug,dr_proto=debug",
    }
}

/// What `DR_AGENT_LOG` asks for, if it asks for anything.
fn log_filter() -> Option<String> {
    std::env::var("DR_AGENT_LOG")
        .ok()
        .filter(|filter| !filter.is_empty())
}

/// Writes whole lines of talk to the log.
#[derive(Debug, Default)]
struct LogLines {
    begun: Vec<u8>,
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            match line.trim_end().strip_prefix("Warning: ") {
                Some(warning) => tracing::warn!("{warning}"),
                None => tracing::info!("{}", line.trim_end()),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn command(cli: Cli, config: Config, ui: Ui, stop: Stop) -> Outcome {
    let passphrase = cli
        .global
        .passphrase_file
        .as_deref()
        .map(key::passphrase)
        .transpose()?;
    let session = Session {
        config,
        ui,
        clock: Arc::new(SystemClock),
        stop,
        counters: Counters::new(),
        circuit: Circuit::default(),
        probe_exits: crate::probe::Exits::default(),
        passphrase,
    };
    cli.command.run(&session).await
}

fn load(global: &Global, command: &Command) -> Result<Config, Failure> {
    let default = || Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
    let file: Option<PathBuf> = match &global.config {
        _ if command.is_bare() => None,
        Some(path) => Some(path.clone()),
        None => default(),
    };
    let surroundings = Surroundings::of_process();
    Ok(config::load(
        file.as_deref().map(Path::new),
        &surroundings,
        &global.overrides(),
    )?)
}

/// Threads by the configured number of cores; two at least, so that talk goes on while one works.
fn runtime(config: &Config) -> std::io::Result<tokio::runtime::Runtime> {
    let threads = limits::cores(config.limits.cpu).clamp(2, 64);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
}
