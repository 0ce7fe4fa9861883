//! Progress of work: live lines on a terminal, plain lines now and then elsewhere.

use std::future::Future;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::Ui;

/// How often live lines move.
pub const LIVE: Duration = Duration::from_millis(150);
/// How often a plain line is written.
pub const PLAIN: Duration = Duration::from_secs(5);

/// One reading of how far work is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// How much is done.
    pub done: u64,
    /// How much there is; 0 if not known.
    pub total: u64,
    /// Figures for people: `storing 1.2 GiB of 4 GiB, 90 MiB/s, 31s left`.
    pub line: String,
}

/// Runs `work` and shows what `read` tells of it, under the name `what`, until it ends. `read` is given the time
/// since the work began.
pub async fn watch<T>(
    ui: &Ui,
    what: &str,
    mut read: impl FnMut(Duration) -> Reading,
    work: impl Future<Output = T>,
) -> T {
    let mut lines = Lines::new(ui);
    let every = if lines.is_live() { LIVE } else { PLAIN };
    let began = Instant::now();
    let mut tick = tokio::time::interval_at(began + every, every);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            result = &mut work => {
                lines.clear();
                return result;
            }
            _ = tick.tick() => {
                let reading = read(began.elapsed());
                if lines.is_live() {
                    lines.show(&[(what.to_owned(), reading)]);
                } else {
                    ui.say(&format!("{what}: {}", reading.line));
                }
            }
        }
    }
}

/// Live lines at the bottom of a terminal, each with a bar. Without a terminal nothing is shown.
#[derive(Debug)]
pub struct Lines<'a> {
    ui: &'a Ui,
    bars: Vec<ProgressBar>,
}

impl<'a> Lines<'a> {
    /// None yet.
    pub fn new(ui: &'a Ui) -> Self {
        Self { ui, bars: Vec::new() }
    }

    /// Whether there is a terminal to show them on.
    pub fn is_live(&self) -> bool {
        self.ui.bars.is_some()
    }

    /// Shows exactly these lines, each a name and a reading.
    pub fn show(&mut self, wanted: &[(String, Reading)]) {
        let Some(all) = &self.ui.bars else { return };
        while self.bars.len() > wanted.len() {
            if let Some(bar) = self.bars.pop() {
                bar.finish_and_clear();
                all.remove(&bar);
            }
        }
        while self.bars.len() < wanted.len() {
            self.bars.push(all.add(new_bar()));
        }
        for (bar, (name, reading)) in self.bars.iter().zip(wanted) {
            bar.set_prefix(name.clone());
            bar.set_length(reading.total.max(1));
            bar.set_position(reading.done.min(reading.total));
            bar.set_message(reading.line.clone());
        }
    }

    /// Takes all lines away.
    pub fn clear(&mut self) {
        self.show(&[]);
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    bar.set_style(style);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_a_plain_line_comes_every_few_seconds() {
        let (out, err) = (Shared::default(), Shared::default());
        let ui = Ui::into_sinks(Options::default(), out.clone(), err.clone());
        let read = |since: Duration| Reading {
            line: format!("{} s", since.as_secs()),
            ..Reading::default()
        };
        watch(&ui, "snapshot", read, tokio::time::sleep(Duration::from_secs(11))).await;
        assert_eq!(err.text(), "snapshot: 5 s\nsnapshot: 10 s\n");
        assert_eq!(out.text(), "");
    }

    #[derive(Clone, Default)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic while writing").clone()).expect("text")
        }
    }

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .lock()
                .expect("no panic while writing")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
