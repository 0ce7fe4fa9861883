//! A run's tasks as a table.

use dr_proto::model::{RunState, TaskState};
use dr_proto::view::{LeftOut, Run, Task};
use dr_terminal::{Cell, Table, Tone, Ui, one_line};

use super::tone;
use crate::follow::worst_first;
use crate::show::{dash, length, short_time};

/// One row a host, worst first.
pub(crate) fn tasks(ui: &Ui, tasks: &[Task]) -> std::io::Result<()> {
    let mut sorted: Vec<&Task> = tasks.iter().collect();
    sorted.sort_by(|left, right| worst_first(left, right));
    let mut table = Table::new(&[
        "host", "state", "proof", "rto", "rpo", "finished", "task", "notes",
    ]);
    for task in sorted {
        let host = if task.on == task.host {
            task.host.clone()
        } else {
            format!("{} on {}", task.host, task.on)
        };
        table.row([
            host.into(),
            Cell::toned(tone(task.state), task.state),
            dash(task.proof).into(),
            dash(task.time_to_usable.map(length)).into(),
            dash(task.rpo.map(length)).into(),
            dash(task.finished.map(short_time)).into(),
            task.id.clone().into(),
            note(task).into(),
        ]);
    }
    table.print(ui)
}

/// Why a task stands where it stands. A pass says nothing: `drill explain` and JSON have its words.
pub(crate) fn note(task: &Task) -> String {
    if task.state == TaskState::Passed {
        return String::new();
    }
    let words = [task.cause.clone(), task.explanation.clone()];
    words.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// The most hosts that are listed as left out; `--output json` has all.
const MOST_LEFT_OUT: usize = 20;

/// Hosts that were selected and got no task: those that are missed first.
pub(crate) fn left_out(ui: &Ui, left_out: &[LeftOut]) -> std::io::Result<()> {
    let mut sorted: Vec<&LeftOut> = left_out.iter().collect();
    sorted.sort_by_key(|entry| (entry.by_plan, &entry.host));
    for entry in sorted.iter().take(MOST_LEFT_OUT) {
        let (what, tone) = if entry.by_plan {
            ("left out by the plan", Tone::Dim)
        } else {
            ("NOT ASKED", Tone::Warn)
        };
        ui.data(&format!(
            "{}: {}: {}",
            ui.paint(tone, what),
            entry.host,
            one_line(&entry.reason)
        ))?;
    }
    match sorted.len().saturating_sub(MOST_LEFT_OUT) {
        0 => Ok(()),
        more => ui.data(&format!(
            "and {more} more hosts were left out; --output json has all"
        )),
    }
}

/// The last line: how the run stands.
pub(crate) fn verdict(ui: &Ui, run: &Run) -> std::io::Result<()> {
    let tone = match run.state {
        RunState::Passed => Tone::Good,
        RunState::Failed => Tone::Bad,
        _ => Tone::Warn,
    };
    let why = run.explanation.as_ref().map(|why| format!(": {}", one_line(why)));
    ui.data(&format!(
        "run {} ({}): {}{}",
        run.id,
        run.work,
        ui.paint(tone, run.state.name()),
        why.unwrap_or_default()
    ))
}
