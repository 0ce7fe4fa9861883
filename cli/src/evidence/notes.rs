//! What operators wrote beside a run.

use dr_proto::view::{Note, Task};
use dr_terminal::Ui;

use crate::show::short_time;

/// Keeps notes about the run as a whole, and those about tasks that are shown.
pub(crate) fn keep(notes: &mut Vec<Note>, is_shown: impl Fn(&str) -> bool) {
    notes.retain(|note| note.task.as_deref().is_none_or(&is_shown));
}

/// One note in a line: who, when, what.
pub(super) fn said(note: &Note) -> String {
    format!("note by {} at {}: {}", note.by, short_time(note.at), note.text)
}

/// The notes, each with the host that it is about.
pub(crate) fn print(ui: &Ui, notes: &[Note], tasks: &[Task]) -> std::io::Result<()> {
    for note in notes {
        let host = note
            .task
            .as_ref()
            .and_then(|id| tasks.iter().find(|task| task.id == *id))
            .map(|task| format!("{}: ", task.host));
        let text = said(note).replace('\n', "\n  ");
        ui.data(&format!("{}{text}", host.unwrap_or_default()))?;
    }
    Ok(())
}
