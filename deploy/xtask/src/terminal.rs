//! Talk to the person at the terminal: steps on standard error, results on standard output.

use std::io::{IsTerminal, Write, stderr, stdout};

/// Announces a step that may take a while.
pub(crate) fn step(what: &str) {
    let (bold, plain) = if stderr().is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    line(stderr(), &format!("{bold}==> {what}{plain}"));
}

/// Says something beside the steps.
pub(crate) fn note(what: &str) {
    line(stderr(), &format!("    {what}"));
}

/// Says why the task failed.
pub(crate) fn failure(what: &str) {
    line(stderr(), &format!("error: {what}"));
}

/// Prints a line of the result.
pub(crate) fn result(what: &str) {
    line(stdout(), what);
}

/// A closed terminal or pipe is no reason to fail: the exit code still says how it went.
fn line(mut to: impl Write, what: &str) {
    let _closed = writeln!(to, "{what}").and_then(|()| to.flush());
}

/// How long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "tasks report how long they took; nothing depends on it"
    )]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Seconds since the start.
    pub(crate) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
