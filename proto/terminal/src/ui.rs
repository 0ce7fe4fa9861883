//! The one place that writes to the terminal: data on stdout, talk on stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::tame;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document on stdout, and on stderr nothing but an error as JSON.
    Json,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What decides how talk looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How results are printed.
    pub format: Format,
    /// When colours are used.
    pub color: ColorChoice,
    /// No colours, no prompts, plain progress.
    pub ci: bool,
    /// No talk but warnings and errors.
    pub quiet: bool,
}

/// Writes to the terminal. Clones write to the same one.
#[derive(Clone)]
pub struct Ui {
    options: Options,
    color: bool,
    /// Talk may go elsewhere than results.
    color_talk: bool,
    pub(crate) bars: Option<MultiProgress>,
    out: Sink,
    err: Sink,
}

type Sink = Arc<Mutex<Box<dyn Write + Send>>>;

/// Colours that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Fine.
    Good,
    /// Somebody should look.
    Warn,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
    /// More important.
    Strong,
}

impl Tone {
    fn paint(self, text: &str, color: bool) -> String {
        if !color {
            return text.to_owned();
        }
        let code = match self {
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31;1",
            Self::Dim => "2",
            Self::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

impl Ui {
    /// The process's own terminal.
    pub fn new(options: Options) -> Self {
        // A dumb terminal can neither move its cursor nor show colours.
        let able = |terminal: bool| terminal && !console::is_dumb() && !options.ci;
        let live = able(io::stderr().is_terminal()) && !options.quiet && options.format == Format::Table;
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = |terminal: bool| match options.color {
            ColorChoice::Always => !options.ci,
            ColorChoice::Never => false,
            ColorChoice::Auto => !no_color && able(terminal),
        };
        Self {
            options,
            color: colored(io::stdout().is_terminal()),
            color_talk: colored(io::stderr().is_terminal()),
            bars: live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            out: sink(io::stdout()),
            err: sink(io::stderr()),
        }
    }

    /// Writes into given sinks, without colours and bars: for tests.
    pub fn into_sinks(
        options: Options,
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
    ) -> Self {
        Self {
            options,
            color: false,
            color_talk: false,
            bars: None,
            out: sink(out),
            err: sink(err),
        }
    }

    /// Whether results are for programs.
    pub fn is_json(&self) -> bool {
        self.options.format == Format::Json
    }

    /// Whether a build server is watching: no prompts, plain lines.
    pub fn is_ci(&self) -> bool {
        self.options.ci
    }

    /// Whether results may carry colours.
    pub fn has_color(&self) -> bool {
        self.color
    }

    /// How wide the terminal is that shows results; `None` without one.
    pub fn width(&self) -> Option<u16> {
        let terminal = console::Term::stdout();
        let size = terminal.is_term().then(|| terminal.size_checked()).flatten();
        size.map(|(_, width)| width).filter(|width| *width > 0)
    }

    /// A piece of a result in a tone, if results may carry colours.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        tone.paint(text, self.color)
    }

    /// Whether talk may carry colours.
    pub(crate) fn has_colored_talk(&self) -> bool {
        self.color_talk
    }

    /// A piece of talk in a tone, if talk may carry colours.
    pub(crate) fn paint_talk(&self, tone: Tone, text: &str) -> String {
        tone.paint(text, self.color_talk)
    }

    /// A result: a line, or several, on stdout.
    pub fn data(&self, text: &str) -> io::Result<()> {
        self.write(&self.out, text)
    }

    /// A result as one JSON document on stdout.
    pub fn json<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.data(&text)
    }

    /// Talk on stderr; silent with `--quiet` and `--output json`.
    pub fn say(&self, text: &str) {
        if !self.options.quiet && !self.is_json() {
            self.complain(text);
        }
    }

    /// A warning on stderr; silent with `--output json`, where the result carries it.
    pub fn warn(&self, text: &str) {
        if !self.is_json() {
            self.complain(&format!("{} {text}", self.paint_talk(Tone::Warn, "Warning:")));
        }
    }

    /// A line on stderr whatever the options: the last word of a failed command.
    pub fn complain(&self, text: &str) {
        // Nobody is left to tell when stderr itself is gone.
        let _gone = self.write(&self.err, text);
    }

    fn write(&self, sink: &Sink, text: &str) -> io::Result<()> {
        let text = &*tame::text(text);
        let line = || {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                sink.write_all(b"\n")?;
            }
            sink.flush()
        };
        match &self.bars {
            Some(bars) => bars.suspend(line),
            None => line(),
        }
    }
}

impl std::fmt::Debug for Ui {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ui")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn sink(writer: impl Write + Send + 'static) -> Sink {
    Arc::new(Mutex::new(Box::new(writer)))
}

/// Where log lines go: stderr, without tearing a progress bar.
#[derive(Debug, Clone)]
pub struct LogWriter(pub Ui);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.complain(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
