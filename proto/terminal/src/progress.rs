//! Progress of work: live lines on a terminal, plain lines now and then elsewhere.

use std::future::Future;
use std::time::Duration;

use console::{Alignment, Term, measure_text_width, pad_str};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::Ui;

/// How often live lines move.
pub const LIVE: Duration = Duration::from_millis(150);
/// How often a plain line is written.
pub const PLAIN: Duration = Duration::from_secs(5);
/// The narrowest terminal that has room for a bar beside what is said.
const ROOM_FOR_BAR: u16 = 64;

/// One reading of how far work is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// How much is done.
    pub done: u64,
    /// How much there is; 0 if not known: then there is no bar.
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
    bars: Vec<(ProgressBar, Look)>,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Name, bar, figures.
    Bar,
    /// As wide, with nothing where the bar would be.
    Gap,
    /// Name and figures.
    Text,
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
            if let Some((bar, _)) = self.bars.pop() {
                bar.finish_and_clear();
                all.remove(&bar);
            }
        }
        while self.bars.len() < wanted.len() {
            let bar = all.add(ProgressBar::no_length());
            bar.set_style(Look::Text.style());
            self.bars.push((bar, Look::Text));
        }
        // Asked anew each time: a terminal may be resized.
        let width = Term::stderr().size_checked().map_or(80, |(_, width)| width);
        let longest = wanted.iter().map(|(name, _)| measure_text_width(name)).max();
        let names = longest.unwrap_or_default().min(usize::from(width) / 3);
        for ((bar, look), (name, reading)) in self.bars.iter_mut().zip(wanted) {
            let wanted_look = Look::of(width, reading);
            if *look != wanted_look {
                *look = wanted_look;
                bar.set_style(look.style());
            }
            bar.set_prefix(pad_str(name, names, Alignment::Left, Some("…")).into_owned());
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

impl Look {
    fn of(width: u16, reading: &Reading) -> Self {
        match (width < ROOM_FOR_BAR, reading.total) {
            (true, _) => Self::Text,
            (false, 0) => Self::Gap,
            (false, _) => Self::Bar,
        }
    }

    /// What is said is cut where the line ends: a line that breaks would be drawn over wrongly.
    fn style(self) -> ProgressStyle {
        let template = match self {
            Self::Bar => "{prefix} {bar:24} {wide_msg}",
            Self::Gap => "{prefix}                          {wide_msg}",
            Self::Text => "{prefix} {wide_msg}",
        };
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn a_bar_needs_room_and_something_to_show() {
        let counted = Reading {
            done: 1,
            total: 2,
            line: String::new(),
        };
        assert_eq!(Look::of(120, &counted), Look::Bar);
        assert_eq!(Look::of(120, &Reading::default()), Look::Gap);
        assert_eq!(Look::of(40, &counted), Look::Text);
    }

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
