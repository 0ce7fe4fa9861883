//! From `main` to a command and back to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use dr_proto::model::exit::Code;
use dr_telemetry::{LogFormat, Otlp, sampling::Shares};
use dr_terminal::{Classify, start};

use super::{Cli, Command, Global};
use crate::config::Telemetry;
use crate::error::{Doing, Failure, Outcome};

/// Runs the process's command line.
pub fn main() -> ExitCode {
    start::guarded("dr-coordinator", env!("CARGO_PKG_VERSION"), run)
}

fn run(arguments: &[OsString]) -> Code {
    let Cli { global, command } = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return start::misunderstood(&error, arguments),
    };
    let ui = global.ui();
    match in_runtime(&global, command, &ui) {
        Ok(code) => code,
        Err(failure) => {
            let code = failure.class().code();
            failure.said(code).say(&ui);
            code
        }
    }
}

fn in_runtime(global: &Global, command: Command, ui: &dr_terminal::Ui) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .doing(|| "start the runtime".to_owned())?;
    let outcome = runtime.block_on(async {
        // The daemon's telemetry is part of its configuration: a broken file must be told before anything else.
        let telemetry = if command.is_daemon() {
            global.load()?.telemetry
        } else {
            None
        };
        let _telemetry = start_telemetry(global, command.is_daemon(), telemetry.as_ref())?;
        command.execute(global, ui).await
    });
    // Threads that still wait for a slow disk must not hold up the end.
    runtime.shutdown_background();
    outcome
}

fn start_telemetry(
    global: &Global,
    daemon: bool,
    telemetry: Option<&Telemetry>,
) -> Result<dr_telemetry::Guard, Failure> {
    let otlp = telemetry.map(|telemetry| Otlp {
        endpoint: telemetry.otlp.clone(),
        shares: Shares {
            all: telemetry.sample,
            failed: telemetry.sample_failed,
        },
        // How runs end is known here first.
        judged: false,
    });
    let options = dr_telemetry::Options {
        service: "dr-coordinator",
        version: env!("CARGO_PKG_VERSION"),
        instance: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        filter: global.filter(daemon),
        logs: LogFormat::Auto,
        otlp,
    };
    dr_telemetry::start(options).doing(|| "start logging".to_owned())
}
