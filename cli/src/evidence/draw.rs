//! A run's evidence in the shape that JUnit and Markdown are drawn from: a subject for each source of each host.

use dr_proto::model::{Cause, Finding, RunState, TaskState, Verdict};
use dr_proto::render;
use dr_proto::view::{LeftOut, Note, Run, Task};
use serde::Deserialize;
use serde_json::Value;

use super::notes::said;
use super::{Evidence, Piece};
use crate::show::{dash, length, short_time};

impl Evidence {
    /// What build servers are shown.
    pub(crate) fn drawn(&self) -> render::Evidence {
        let run = &self.run;
        render::Evidence {
            title: format!(
                "{} ({})",
                run.work,
                run.plan.as_deref().unwrap_or("asked for by an operator")
            ),
            verdict: of_run(run.state),
            figures: figures(run, &self.tasks),
            subjects: self
                .tasks
                .iter()
                .flat_map(|piece| subjects(piece, &self.notes))
                .chain(self.left_out.iter().map(not_asked))
                .collect(),
            notes: run
                .explanation
                .iter()
                .cloned()
                .chain(self.notes.iter().filter(|note| note.task.is_none()).map(said))
                .collect(),
        }
    }
}

fn of_run(state: RunState) -> Verdict {
    match state {
        RunState::Passed => Verdict::Passed,
        RunState::Failed => Verdict::Failed,
        _ => Verdict::Inconclusive,
    }
}

fn of_task(state: TaskState) -> Verdict {
    match state {
        TaskState::Passed => Verdict::Passed,
        TaskState::Failed => Verdict::Failed,
        _ => Verdict::Inconclusive,
    }
}

fn figures(run: &Run, tasks: &[Piece]) -> Vec<(String, String)> {
    let mut figures = vec![
        ("run".to_owned(), run.id.clone()),
        ("state".to_owned(), run.state.to_string()),
        ("hosts".to_owned(), tasks.len().to_string()),
        ("asked for by".to_owned(), run.requested_by.clone()),
        ("finished".to_owned(), dash(run.finished.map(short_time))),
    ];
    let longest = tasks.iter().filter_map(|piece| piece.task.time_to_usable).max();
    figures.extend(longest.map(|rto| ("longest RTO".to_owned(), length(rto))));
    let worst = tasks.iter().filter_map(|piece| piece.task.rpo).max();
    figures.extend(worst.map(|rpo| ("worst RPO at the moment of loss".to_owned(), length(rpo))));
    figures.extend(
        run.trace_id
            .iter()
            .map(|trace| ("trace".to_owned(), trace.clone())),
    );
    figures
}

/// The task itself, then every source that its report tells of.
fn subjects(piece: &Piece, notes: &[Note]) -> Vec<render::Subject> {
    let of_task = notes
        .iter()
        .filter(|note| note.task.as_ref() == Some(&piece.task.id));
    let mut subjects = vec![render::Subject {
        notes: of_task.map(said).collect(),
        ..whole(&piece.task)
    }];
    if let Some(report) = piece.drill() {
        let of_drill = render::Evidence::from(&report);
        subjects.extend(
            of_drill
                .subjects
                .into_iter()
                .map(|subject| of_host(&piece.task, subject)),
        );
    } else if let Some(report) = &piece.report {
        subjects.extend(
            checked(report)
                .into_iter()
                .map(|subject| of_host(&piece.task, subject)),
        );
    }
    subjects
}

/// A host that was selected and got no task: unless the plan itself says so, it must not look green.
fn not_asked(left_out: &LeftOut) -> render::Subject {
    let missed = !left_out.by_plan;
    render::Subject {
        name: left_out.host.clone(),
        answers: vec![render::Answer {
            question: "left out".to_owned(),
            verdict: missed.then_some(Verdict::Inconclusive),
            cause: None::<Cause>,
            figure: left_out.reason.clone(),
            findings: Vec::new(),
            seconds: None,
        }],
        notes: Vec::new(),
    }
}

fn of_host(task: &Task, subject: render::Subject) -> render::Subject {
    render::Subject {
        name: format!("{}/{}", task.host, subject.name),
        ..subject
    }
}

/// How the task ended: hosts that refused, were lost or ran out of time have no report and must not look green.
fn whole(task: &Task) -> render::Subject {
    let verdict = of_task(task.state);
    let seconds = match (task.started, task.finished) {
        (Some(started), Some(finished)) => Some(finished.duration_since(started).as_secs_f64()),
        _ => None,
    };
    let why: Vec<String> = [task.cause.clone(), task.explanation.clone()]
        .into_iter()
        .flatten()
        .collect();
    let findings = (verdict != Verdict::Passed).then(|| Finding {
        subject: task.host.clone(),
        what: if why.is_empty() {
            format!("it is {}", task.state)
        } else {
            why.join(": ")
        },
    });
    render::Subject {
        name: task.host.clone(),
        answers: vec![render::Answer {
            question: task
                .work
                .as_ref()
                .map_or_else(|| "task".to_owned(), ToString::to_string),
            verdict: Some(verdict),
            cause: None::<Cause>,
            figure: task.state.to_string(),
            findings: findings.into_iter().collect(),
            seconds,
        }],
        notes: Vec::new(),
    }
}

#[derive(Deserialize)]
struct Check {
    check: String,
    checked: Vec<Checked>,
}

#[derive(Deserialize)]
struct Checked {
    subject: String,
    verdict: Verdict,
    figure: String,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    warnings: Vec<Finding>,
}

/// The subjects of a live check's report; none if it is another report.
fn checked(report: &Value) -> Vec<render::Subject> {
    let Ok(check) = Check::deserialize(report) else {
        return Vec::new();
    };
    let subject = |checked: Checked| render::Subject {
        name: checked.subject,
        answers: vec![render::Answer {
            question: check.check.clone(),
            verdict: Some(checked.verdict),
            cause: None,
            figure: checked.figure,
            findings: checked.findings,
            seconds: None,
        }],
        notes: checked
            .warnings
            .into_iter()
            .map(|warning| format!("{}: {}", warning.subject, warning.what))
            .collect(),
    };
    check.checked.into_iter().map(subject).collect()
}
