//! How far the task at work is: rate and remaining time, once a second.

use std::time::Duration;

use dr_proto::model::{Progress as Told, TaskKey};
use dr_vault::progress::{Figures, Progress, Rate};
use tokio::time::Instant;

use crate::daemon::desk::Desk;
use crate::ui::progress::whole_seconds;

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
        rate.follow(began.elapsed(), &figures);
        desk.progress(key, told(&figures, &rate));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^53; `as` saturates"
)]
fn told(figures: &Figures, rate: &Rate) -> Told {
    let moving = figures.bytes_move();
    let told = Told {
        phase: figures.doing(),
        bytes_done: figures.bytes_done,
        bytes_total: figures.bytes_total,
        items_done: figures.files_done,
        items_total: figures.files_total,
        items: "files".to_owned(),
        bytes_per_second: rate.bytes_per_second().filter(|_| moving).unwrap_or_default() as u64,
        eta: rate
            .remaining(figures.bytes_total)
            .filter(|_| moving)
            .map(whole_seconds),
    };
    // A step has a count of its own, or none.
    match figures.step.as_ref().map(|step| step.count) {
        None => told,
        Some(None) => Told {
            items_done: 0,
            items_total: 0,
            items: String::new(),
            ..told
        },
        Some(Some(count)) => Told {
            items_done: count.done,
            items_total: count.total,
            items: count.unit.to_owned(),
            ..told
        },
    }
}

#[cfg(test)]
mod tests {
    use dr_vault::progress::{Count, Phase};

    use super::*;

    #[test]
    fn a_step_is_told_with_its_own_count_and_without_a_time() {
        let progress = Progress::new();
        progress.expect(4, 400);
        progress.advance(100);
        let mut rate = Rate::over(WINDOW);
        rate.observe(Duration::ZERO, 0);
        rate.observe(Duration::from_secs(10), 100);
        let count = Count {
            done: 7,
            total: 9,
            unit: "rows",
        };
        progress.count("scanning notes.lance", count);
        let told = told(&progress.figures(), &rate);
        assert_eq!(
            (told.phase.as_str(), told.items.as_str()),
            ("scanning notes.lance", "rows")
        );
        assert_eq!((told.items_done, told.items_total), (7, 9));
        assert_eq!((told.bytes_per_second, told.eta), (0, None));
    }

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
            ..Figures::default()
        };
        let told = told(&figures, &rate);
        assert_eq!((told.phase.as_str(), told.bytes_per_second), ("storing", 10));
        assert_eq!(told.eta, Some(Duration::from_secs(30)));
    }
}
