//! From `main` to a command and back to an exit code: panics, help, and command lines that make no sense.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::error::ErrorKind;
use dr_proto::model::exit::Code;

use crate::{Format, Options, Said, Ui};

/// What every binary's help says of exit codes.
pub const EXIT_CODES: &str = "\
Exit codes: 0 passed or done, 1 a check disproved data, 2 inconclusive, 3 partial, 64 usage, 65 repository damaged \
or newer, 66 not found, 69 unreachable, 70 our bug, 73 no space or target exists, 75 busy (safe to retry), \
77 denied, 78 configuration, 130/143 ended by a signal.";

/// Runs the process's command line. A panic is a mistake of ours: one message with its place, and exit code 70.
pub fn guarded(
    program: &'static str,
    version: &'static str,
    run: impl FnOnce(&[OsString]) -> Code,
) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    report_panics(program, version);
    match catch_unwind(AssertUnwindSafe(|| run(&arguments))) {
        Ok(code) => code.into(),
        Err(_) => Code::Internal.into(),
    }
}

fn report_panics(program: &'static str, version: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let ui = Ui::new(Options::default());
        let what = panic.payload_as_str().unwrap_or("no message");
        let place = panic
            .location()
            .map(|place| format!(" at {place}"))
            .unwrap_or_default();
        let thread = std::thread::current();
        ui.complain(&format!(
            "Error: internal error in thread `{}`{place}: {what}\nHint: this is a mistake in {program} {version}; please report it",
            thread.name().unwrap_or("unnamed"),
        ));
    }));
}

/// What clap did not turn into a command. Help and version are results; everything else is a mistake in the command
/// line.
pub fn misunderstood(error: &clap::Error, arguments: &[OsString]) -> Code {
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let after_output = arguments
        .windows(2)
        .any(|pair| pair[0] == "--output" && pair[1] == "json");
    let format = if asked("--output=json") || after_output {
        Format::Json
    } else {
        Format::Table
    };
    let ui = Ui::new(Options {
        format,
        ci: asked("--ci"),
        ..Options::default()
    });
    let text = error.render();
    let shown = |color| match color {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match ui.data(&shown(ui.has_color())) {
            Ok(()) => Code::Done,
            Err(_) => Code::Internal,
        },
        _ if ui.is_json() => {
            usage(&text.to_string()).say(&ui);
            Code::Usage
        }
        _ => {
            ui.complain(&shown(ui.has_colored_talk()));
            Code::Usage
        }
    }
}

/// clap's text as a failure.
fn usage(text: &str) -> Said {
    let message = text.lines().next().unwrap_or_default();
    Said {
        code: "usage",
        exit: Code::Usage.number(),
        message: message.trim_start_matches("error: ").to_owned(),
        causes: Vec::new(),
        hints: Vec::new(),
        retry_safe: Code::Usage.retry_is_safe(),
        trace_id: None,
    }
}
