//! How far the task at work is: rate and remaining time, once a second.

use std::time::Duration;

use dr_proto::model::{Progress as Told, TaskKey};
use dr_vault::progress::{Figures, Phase, Progress, Rate};
use tokio::time::Instant;

use crate::daemon::desk::Desk;

/// How often the coordinator is told at the most.
const EVERY: Duration = Duration::from_secs(1);
/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(15);

/// Tells the desk how far the work is, until dropped.
pub(super) async fn measure(desk: &Desk, key: TaskKey, progress: &Progress) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(EVERY);
    let mut rate = Rate::over(WINDOW);
    loop {
        tick.tick().await;
        let figures = progress.figures();
        rate.observe(began.elapsed(), figures.bytes_done);
        desk.progress(key, told(&figures, &rate));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^53; `as` saturates"
)]
fn told(figures: &Figures, rate: &Rate) -> Told {
    Told {
        phase: phase(figures.phase).to_owned(),
        bytes_done: figures.bytes_done,
        bytes_total: figures.bytes_total,
        items_done: figures.files_done,
        items_total: figures.files_total,
        bytes_per_second: rate.bytes_per_second().unwrap_or_default() as u64,
        eta: rate
            .remaining(figures.bytes_total)
            .map(|left| Duration::from_secs(left.as_secs())),
    }
}

fn phase(phase: Phase) -> &'static str {
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
    fn figures_carry_rate_and_what_is_left() {
        let mut rate = Rate::over(WINDOW);
        rate.observe(Duration::ZERO, 0);
        rate.observe(Duration::from_secs(10), 100);
        let figures = Figures {
            phase: Phase::Storing,
            bytes_total: 400,
            bytes_done: 100,
            files_total: 4,
            files_done: 1,
            bytes_stored: 0,
        };
        let told = told(&figures, &rate);
        assert_eq!((told.phase.as_str(), told.bytes_per_second), ("storing", 10));
        assert_eq!(told.eta, Some(Duration::from_secs(30)));
    }
}
