//! From `main` to a command and back to an exit code: the command line, the runtime, signals, the trace.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use dr_proto::model::exit::Code;
use dr_telemetry::sampling::Shares;
use dr_telemetry::{LogFormat, Otlp, propagation};
use dr_terminal::{Classify, Ui, start};
use tracing::Instrument;

use crate::commands::{Cli, Global};
use crate::error::{Class, Doing, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::session::Session;

/// Threads: a command mostly waits.
const THREADS: usize = 2;

/// Runs the process's command line.
pub(crate) fn main() -> ExitCode {
    start::guarded("drctl", env!("CARGO_PKG_VERSION"), run)
}

fn run(arguments: &[OsString]) -> Code {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return start::misunderstood(&error, arguments),
    };
    let ui = Ui::new(cli.global.ui());
    let ended = in_runtime(cli, &ui);
    match ended.outcome {
        Ok(code) => code,
        Err(failure) => {
            let code = match (failure.class(), ended.interrupt.code()) {
                (Class::Interrupted, Some(code)) => code,
                (class, _) => class.code(),
            };
            let mut said = failure.said(code);
            said.trace_id = ended.trace_id;
            said.say(&ui);
            code
        }
    }
}

/// How a command ended, with what its last words need.
struct Ended {
    outcome: Outcome,
    interrupt: Interrupt,
    trace_id: Option<String>,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self {
            outcome: Err(failure),
            interrupt: Interrupt::default(),
            trace_id: None,
        }
    }
}

fn in_runtime(cli: Cli, ui: &Ui) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).context("start").into(),
    };
    let ended = runtime.block_on(async {
        // Dropped last: it sends what is left of the trace.
        let _telemetry = match telemetry(&cli.global) {
            Ok(telemetry) => telemetry,
            Err(failure) => return failure.into(),
        };
        command(cli, ui.clone()).await
    });
    // A thread that still waits for a resolver must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Runs the command as the root span of its trace, or as a part of the trace that `TRACEPARENT` names.
async fn command(cli: Cli, ui: Ui) -> Ended {
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return Failure::from(error).context("listen for signals").into(),
    };
    let span = tracing::info_span!("drctl", command = cli.command.name());
    if let Ok(parent) = std::env::var("TRACEPARENT") {
        propagation::continue_from(&span, &parent);
    }
    let trace_id = propagation::trace_id(&span);
    if let (Some(id), true) = (&trace_id, cli.global.verbose > 0) {
        ui.say(&format!("Trace {id}"));
    }
    let session = Session {
        ui,
        now: crate::clock::system,
        interrupt: interrupt.clone(),
        wanted: cli.global.wanted(),
        timeout: cli.global.timeout.0,
        trace_id: trace_id.clone(),
    };
    let outcome = cli.command.run(&session).instrument(span).await;
    Ended {
        outcome,
        interrupt,
        trace_id,
    }
}

/// Logs by `-v` or `DRCTL_LOG`; spans to the collector that the standard variable names.
fn telemetry(global: &Global) -> Result<dr_telemetry::Guard, Failure> {
    let set = |name| {
        std::env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let level = match (global.quiet || global.is_json(), global.verbose) {
        (true, 0) => "error",
        (_, 0) => "warn",
        (_, 1) => "warn,drctl=info,dr_proto=info",
        (_, _) => "info,drctl=debug,dr_proto=debug",
    };
    let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    dr_telemetry::start(dr_telemetry::Options {
        service: "drctl",
        version: env!("CARGO_PKG_VERSION"),
        instance: std::process::id().to_string(),
        filter: set("DRCTL_LOG").unwrap_or_else(|| level.to_owned()),
        logs: LogFormat::Text,
        otlp: endpoint.map(|endpoint| Otlp {
            endpoint,
            // What an operator asks for is rare, and the one trace that somebody wants to see.
            shares: Shares {
                all: 1.0,
                failed: 1.0,
            },
            judged: false,
        }),
    })
    .doing(|| "start logs and traces".to_owned())
}
