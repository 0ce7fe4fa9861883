//! Progress of an operation of the engine.

use std::future::Future;
use std::time::Duration;

use dr_terminal::progress::Reading;
use dr_vault::progress::{Count, Figures, Progress, Rate};

use super::Ui;
use crate::config::{Period, Size};

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(15);

/// Runs `work` and shows `progress` under the name `what` until it ends.
pub async fn watch<T>(ui: &Ui, what: &str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let mut rate = Rate::over(WINDOW);
    rate.follow(Duration::ZERO, &progress.figures());
    let read = |since| {
        let figures = progress.figures();
        rate.follow(since, &figures);
        reading(&figures, &rate)
    };
    dr_terminal::progress::watch(ui, what, read, work).await
}

/// The bar is that of the step at work: of its count, or of bytes, or empty where nothing is counted.
fn reading(figures: &Figures, rate: &Rate) -> Reading {
    let (done, total) = match figures.step.as_ref().map(|step| step.count) {
        Some(Some(count)) => (count.done, count.total),
        Some(None) => (0, 0),
        None => (figures.bytes_done, figures.bytes_total),
    };
    Reading {
        done,
        total,
        line: line(figures, rate),
    }
}

/// `storing 1.2 GiB of 4 GiB, 12 of 40 files, 90 MiB/s, 31s left`; `1200 of 9000 rows: scanning notes.lance`.
fn line(figures: &Figures, rate: &Rate) -> String {
    if let Some(step) = &figures.step {
        // The count first: it is what moves, and the end of a line may be cut.
        let count = step.count.map(|count| format!("{}: ", counted(count)));
        return format!("{}{}", count.unwrap_or_default(), step.what);
    }
    let (phase, done) = (figures.phase, Size(figures.bytes_done));
    let mut parts = vec![match (figures.bytes_done, figures.bytes_total) {
        (0, 0) => return figures.doing(),
        (_, 0) => format!("{phase} {done}"),
        (_, total) => format!("{phase} {done} of {}", Size(total)),
    }];
    if figures.files_total > 0 {
        parts.push(format!("{} of {} files", figures.files_done, figures.files_total));
    }
    if !figures.bytes_move() {
        return parts.join(", ");
    }
    if let Some(rate) = rate.bytes_per_second() {
        parts.push(format!("{}/s", Size(whole(rate))));
    }
    if let Some(left) = rate.remaining(figures.bytes_total) {
        parts.push(format!("{} left", Period(whole_seconds(left))));
    }
    parts.join(", ")
}

/// Rounded up: while something is left, so is some time.
pub fn whole_seconds(left: Duration) -> Duration {
    Duration::from_secs((left + Duration::from_nanos(999_999_999)).as_secs())
}

fn counted(count: Count) -> String {
    match count.total {
        0 => format!("{} {}", count.done, count.unit),
        total => format!("{} of {total} {}", count.done, count.unit),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive and far below 2^53; `as` saturates"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}

#[cfg(test)]
mod tests {
    use dr_vault::progress::{Phase, Step};

    use super::*;

    fn figures() -> Figures {
        Figures {
            phase: Phase::Storing,
            bytes_total: 400 << 20,
            bytes_done: 100 << 20,
            files_total: 4,
            files_done: 1,
            ..Figures::default()
        }
    }

    fn rate() -> Rate {
        let mut rate = Rate::over(WINDOW);
        rate.observe(Duration::ZERO, 0);
        rate.observe(Duration::from_secs(10), 100 << 20);
        rate
    }

    #[test]
    fn a_line_says_bytes_files_rate_and_what_is_left() {
        assert_eq!(
            line(&figures(), &rate()),
            "storing 100 MiB of 400 MiB, 1 of 4 files, 10 MiB/s, 30s left"
        );
    }

    #[test]
    fn after_the_last_byte_there_is_neither_rate_nor_time_left() {
        let done = Figures {
            phase: Phase::Committing,
            bytes_done: 400 << 20,
            files_done: 4,
            ..figures()
        };
        assert_eq!(
            line(&done, &rate()),
            "committing 400 MiB of 400 MiB, 4 of 4 files"
        );
        assert_eq!(line(&Figures::default(), &rate()), "waiting");
    }

    #[test]
    fn a_step_is_named_and_what_it_counts_moves_the_bar() {
        let count = Count {
            done: 1200,
            total: 9000,
            unit: "rows",
        };
        let step = |count| Figures {
            step: Some(Step {
                what: "scanning notes.lance".to_owned(),
                count,
            }),
            ..figures()
        };
        let shown = reading(&step(Some(count)), &rate());
        assert_eq!(shown.line, "1200 of 9000 rows: scanning notes.lance");
        assert_eq!((shown.done, shown.total), (1200, 9000));
        let shown = reading(&step(None), &rate());
        assert_eq!((shown.line.as_str(), shown.total), ("scanning notes.lance", 0));
    }
}
