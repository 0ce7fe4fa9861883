//! Progress of an operation of the engine.

use std::future::Future;
use std::time::Duration;

use dr_terminal::progress::Reading;
use dr_vault::progress::{Figures, Phase, Progress, Rate};

use super::Ui;
use crate::config::{Period, Size};

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(15);

/// Runs `work` and shows `progress` under the name `what` until it ends.
pub async fn watch<T>(ui: &Ui, what: &str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let mut rate = Rate::over(WINDOW);
    rate.observe(Duration::ZERO, progress.figures().bytes_done);
    let read = |since| {
        let figures = progress.figures();
        rate.observe(since, figures.bytes_done);
        Reading {
            done: figures.bytes_done,
            total: figures.bytes_total,
            line: line(&figures, &rate),
        }
    };
    dr_terminal::progress::watch(ui, what, read, work).await
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
}
