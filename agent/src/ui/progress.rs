//! Progress of an operation: a live bar on a terminal, a plain line now and then elsewhere.

use std::future::Future;
use std::time::Duration;

use dr_vault::progress::{Figures, Phase, Progress, Rate};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::Ui;
use crate::config::{Period, Size};

/// How often a live bar moves.
const LIVE: Duration = Duration::from_millis(150);
/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(5);
/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(15);

/// Runs `work` and shows `progress` under the name `what` until it ends.
pub async fn watch<T>(ui: &Ui, what: &str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let bar = ui.bars.as_ref().map(|bars| bars.add(new_bar(what)));
    let every = if bar.is_some() { LIVE } else { PLAIN };
    let began = Instant::now();
    let mut tick = tokio::time::interval_at(began + every, every);
    let mut rate = Rate::over(WINDOW);
    rate.observe(Duration::ZERO, progress.figures().bytes_done);
    tokio::pin!(work);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut work => break result,
            _ = tick.tick() => {
                let figures = progress.figures();
                rate.observe(began.elapsed(), figures.bytes_done);
                match &bar {
                    Some(bar) => move_bar(bar, &figures, &rate),
                    None => ui.say(&format!("{what}: {}", line(&figures, &rate))),
                }
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

fn new_bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    bar.set_style(style);
    bar.set_prefix(what.to_owned());
    bar
}

fn move_bar(bar: &ProgressBar, figures: &Figures, rate: &Rate) {
    bar.set_length(figures.bytes_total.max(1));
    bar.set_position(figures.bytes_done.min(figures.bytes_total));
    bar.set_message(line(figures, rate));
}

/// `storing 1.2 GiB of 4 GiB, 12 of 40 files, 90 MiB/s, 31s left`.
fn line(figures: &Figures, rate: &Rate) -> String {
    let mut parts = vec![format!(
        "{} {} of {}",
        doing(figures.phase),
        Size(figures.bytes_done),
        Size(figures.bytes_total)
    )];
    if figures.files_total > 0 {
        parts.push(format!("{} of {} files", figures.files_done, figures.files_total));
    }
    if let Some(rate) = rate.bytes_per_second() {
        parts.push(format!("{}/s", Size(whole(rate))));
    }
    if let Some(left) = rate.remaining(figures.bytes_total) {
        parts.push(format!("{} left", Period(Duration::from_secs(left.as_secs()))));
    }
    parts.join(", ")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^53; `as` saturates"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Preparing => "preparing",
        Phase::Storing => "storing",
        Phase::Restoring => "restoring",
        Phase::Verifying => "verifying",
        Phase::Committing => "committing",
        Phase::Finished => "finished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_bytes_files_rate_and_what_is_left() {
        let mut rate = Rate::over(WINDOW);
        rate.observe(Duration::ZERO, 0);
        rate.observe(Duration::from_secs(10), 100 << 20);
        let figures = Figures {
            phase: Phase::Storing,
            bytes_total: 400 << 20,
            bytes_done: 100 << 20,
            files_total: 4,
            files_done: 1,
            bytes_stored: 0,
        };
        assert_eq!(
            line(&figures, &rate),
            "storing 100 MiB of 400 MiB, 1 of 4 files, 10 MiB/s, 30s left"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_a_plain_line_comes_every_few_seconds() {
        let (out, err) = (Shared::default(), Shared::default());
        let ui = Ui::into_sinks(super::super::Options::default(), out.clone(), err.clone());
        let progress = Progress::new();
        progress.expect(1, 100);
        watch(
            &ui,
            "snapshot",
            &progress,
            tokio::time::sleep(Duration::from_secs(11)),
        )
        .await;
        assert_eq!(err.text().lines().count(), 2, "{}", err.text());
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
