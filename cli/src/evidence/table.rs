//! A run's tasks as a table.

use dr_proto::model::RunState;
use dr_proto::view::{Run, Task};
use dr_terminal::{Table, Tone, Ui};

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
        let notes = [task.cause.clone(), task.explanation.clone()];
        table.row([
            host,
            ui.paint(tone(task.state), task.state.name()),
            dash(task.proof),
            dash(task.time_to_usable.map(length)),
            dash(task.rpo.map(length)),
            dash(task.finished.map(short_time)),
            task.id.clone(),
            notes.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]);
    }
    table.print(ui)
}

/// The last line: how the run stands.
pub(crate) fn verdict(ui: &Ui, run: &Run) -> std::io::Result<()> {
    let tone = match run.state {
        RunState::Passed => Tone::Good,
        RunState::Failed => Tone::Bad,
        _ => Tone::Warn,
    };
    let why = run.explanation.as_ref().map(|why| format!(": {why}"));
    ui.data(&format!(
        "run {} ({}): {}{}",
        run.id,
        run.work,
        ui.paint(tone, run.state.name()),
        why.unwrap_or_default()
    ))
}
