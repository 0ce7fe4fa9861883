//! A run's evidence as one page of HTML that needs nothing else: no script, no font, no link to anywhere.

use askama::Template;
use dr_proto::model::Verdict;
use dr_proto::render;

use super::Evidence;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    evidence: &'a render::Evidence,
}

/// Draws the page.
pub(crate) fn html(evidence: &Evidence) -> Result<String, askama::Error> {
    Page {
        evidence: &evidence.drawn(),
    }
    .render()
}

/// The class and the word of a verdict; nothing asked is `n/a`.
fn word(verdict: &Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "passed",
        Some(Verdict::Failed) => "failed",
        Some(Verdict::Inconclusive) => "inconclusive",
        None => "n/a",
    }
}

fn time(seconds: &Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2} s"))
}

#[cfg(test)]
mod tests {
    use dr_proto::model::{RunState, TaskState};
    use dr_proto::view::Note;

    use super::super::Piece;
    use super::*;
    use crate::follow::samples::{run, task};

    #[test]
    fn what_hosts_say_can_not_become_markup() {
        let mut lost = task("db-1", TaskState::Failed);
        lost.explanation = Some("<script>alert(1)</script>".to_owned());
        let evidence = Evidence {
            run: run(RunState::Failed),
            tasks: vec![Piece {
                task: lost,
                report: None,
            }],
            notes: vec![Note {
                task: Some("task-db-1".to_owned()),
                at: "2026-01-01T00:00:00Z".parse().unwrap(),
                by: "ana".to_owned(),
                text: "<b>looked</b> at it".to_owned(),
            }],
            left_out: vec![dr_proto::view::LeftOut {
                host: "db-2".to_owned(),
                reason: "<i>suspended</i>".to_owned(),
                by_plan: false,
            }],
        };
        let page = html(&evidence).unwrap();
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("db-1") && page.contains("alert(1)"), "{page}");
        assert!(!page.contains("<b>") && page.contains("looked"), "{page}");
        assert!(!page.contains("<i>") && page.contains("suspended"), "{page}");
    }
}
