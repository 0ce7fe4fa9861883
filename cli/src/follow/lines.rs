//! What a watch shows.

use std::time::Duration;

use dr_proto::model::TaskState;
use dr_proto::model::units::{Period, Size};
use dr_proto::view::{ProgressView, Task};
use dr_terminal::progress::Reading;

use super::watched::{Sum, Watched};

/// The most hosts that are shown at once.
const MOST: usize = 10;

/// The run, then its worst hosts.
pub(super) fn live(watched: &Watched) -> Vec<(String, Reading)> {
    let Some(run) = watched.run() else {
        return Vec::new();
    };
    let sum = watched.sum();
    let mut lines = vec![(
        run.work.clone(),
        Reading {
            done: whole(sum.ended),
            total: whole(sum.tasks),
            line: total(&sum),
        },
    )];
    let tasks = watched.tasks();
    let shown: Vec<&&Task> = tasks
        .iter()
        .filter(|task| !matches!(task.state, TaskState::Passed | TaskState::Queued))
        .collect();
    lines.extend(shown.iter().take(MOST).map(|task| host(task)));
    if let Some(more) = shown.len().checked_sub(MOST).filter(|more| *more > 0) {
        let line = format!("{more} more hosts at work or not passed");
        lines.push((
            "…".to_owned(),
            Reading {
                line,
                ..Reading::default()
            },
        ));
    }
    lines
}

/// One line for a log; nothing while nothing is known.
pub(super) fn plain(watched: &Watched) -> Option<String> {
    let run = watched.run()?;
    let sum = watched.sum();
    let slowest = watched
        .tasks()
        .into_iter()
        .find(|task| task.state == TaskState::Running)
        .and_then(|task| task.progress.as_ref().map(|progress| (task, progress)));
    let slowest = slowest.map(|(task, progress)| format!("; {}: {}", task.host, figures(progress)));
    Some(format!(
        "{}: {}{}",
        run.work,
        total(&sum),
        slowest.unwrap_or_default()
    ))
}

/// `3 of 20 hosts done, 1 failed, 1.2 GiB of 4 GiB, 90 MiB/s, 31s left`.
fn total(sum: &Sum) -> String {
    let mut parts = vec![format!("{} of {} hosts done", sum.ended, sum.tasks)];
    parts.extend(
        sum.not_passed
            .iter()
            .map(|(state, count)| format!("{count} {state}")),
    );
    parts.extend(moved(
        sum.bytes_done,
        sum.bytes_total,
        sum.bytes_per_second,
        sum.eta,
    ));
    parts.join(", ")
}

fn host(task: &Task) -> (String, Reading) {
    let reading = match &task.progress {
        Some(progress) if !task.state.is_final() => Reading {
            done: progress.bytes_done,
            total: progress.bytes_total,
            line: figures(progress),
        },
        _ => {
            let words = [
                Some(task.state.to_string()),
                task.cause.clone(),
                task.explanation.clone(),
            ];
            Reading {
                done: u64::from(task.state.is_final()),
                total: 1,
                line: words.into_iter().flatten().collect::<Vec<_>>().join(": "),
            }
        }
    };
    (format!("  {}", task.host), reading)
}

fn figures(progress: &ProgressView) -> String {
    let mut parts = vec![progress.phase.clone()];
    let items = if progress.items.is_empty() {
        "items"
    } else {
        progress.items.as_str()
    };
    match (progress.items_done, progress.items_total) {
        (0, 0) => {}
        (done, 0) => parts.push(format!("{done} {items}")),
        (done, total) => parts.push(format!("{done} of {total} {items}")),
    }
    parts.extend(moved(
        progress.bytes_done,
        progress.bytes_total,
        progress.bytes_per_second,
        progress.eta,
    ));
    parts.join(", ")
}

fn moved(done: u64, total: u64, rate: u64, eta: Option<Duration>) -> Vec<String> {
    let mut parts = Vec::new();
    if total > 0 {
        parts.push(format!("{} of {}", Size(done), Size(total)));
    } else if done > 0 {
        parts.push(Size(done).to_string());
    }
    if rate > 0 {
        parts.push(format!("{}/s", Size(rate)));
    }
    if let Some(eta) = eta {
        parts.push(format!("{} left", Period(Duration::from_secs(eta.as_secs()))));
    }
    parts
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::{at_work, task, watched};

    #[test]
    fn the_sum_says_hosts_bytes_rate_and_what_is_left() {
        let watched = watched(vec![
            task("a", TaskState::Passed),
            task("b", TaskState::Failed),
            at_work("c", 25, 7),
            at_work("d", 50, 5),
        ]);
        assert_eq!(
            plain(&watched).unwrap(),
            "drill restore: 2 of 4 hosts done, 1 failed, 75 MiB of 200 MiB, 20 MiB/s, 7s left; \
             c: restoring, 25 MiB of 100 MiB, 10 MiB/s, 7s left"
        );
    }

    #[test]
    fn a_large_fleet_keeps_the_screen_small() {
        let tasks = (0..50).map(|host| at_work(&format!("db-{host}"), 1, 1)).collect();
        let lines = live(&watched(tasks));
        assert_eq!(lines.len(), MOST + 2);
        assert_eq!(
            lines.last().unwrap().1.line,
            "40 more hosts at work or not passed"
        );
    }
}
