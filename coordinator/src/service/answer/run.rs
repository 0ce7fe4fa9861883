//! Runs, tasks and what they measured.

use dr_proto::{v1, wire};
use dr_store::events::EventRecord;
use dr_store::notes::NoteRecord;
use dr_store::runs::{Excluded, RunRecord};
use dr_store::tasks::TaskRecord;

use super::{maybe, maybe_length};
use crate::handle::{Detail, Event, ReportView, TaskView};
use crate::reconcile::trace_id;

pub(in crate::service) fn run(run: RunRecord) -> v1::Run {
    let trace_id = trace_id(&run).unwrap_or_default();
    let (plan, slot) = match run.slot {
        Some(slot) => (slot.plan, Some(wire::timestamp(slot.at))),
        None => (String::new(), None),
    };
    v1::Run {
        id: run.id.to_string(),
        state: v1::RunState::from(run.state).into(),
        plan,
        plan_hash: run.plan_hash.unwrap_or_default(),
        slot,
        work: run.work,
        requested_by: run.requested_by,
        reason: run.reason,
        created: Some(wire::timestamp(run.created)),
        started: maybe(run.started),
        finished: maybe(run.finished),
        tasks: run
            .tasks
            .into_iter()
            .map(|(state, count)| (state.name().to_owned(), count))
            .collect(),
        explanation: run.explanation,
        trace_id,
    }
}

fn task(view: TaskView) -> v1::Task {
    let TaskView { record, progress } = view;
    let TaskRecord {
        id,
        run,
        host,
        agent,
        state,
        fence,
        wave,
        work,
        ..
    } = record;
    v1::Task {
        id: id.to_string(),
        run: run.to_string(),
        host: host.into(),
        on: agent.into(),
        state: v1::TaskState::from(state).into(),
        attempt: fence.attempt,
        wave,
        cause: record.cause,
        explanation: record.explanation,
        progress: progress.map(Into::into),
        queued: Some(wire::timestamp(record.queued)),
        started: maybe(record.started),
        finished: maybe(record.finished),
        deadline: maybe(record.deadline),
        proof: record
            .proof
            .map_or(v1::ProofLevel::Unspecified, Into::into)
            .into(),
        time_to_usable: maybe_length(record.time_to_usable),
        rpo: maybe_length(record.rpo),
        work: Some(work.into()),
        has_report: record.has_document,
    }
}

pub(in crate::service) fn detail(detail: Detail) -> v1::RunDetail {
    let Detail {
        run: of,
        tasks,
        events,
        notes,
    } = detail;
    v1::RunDetail {
        left_out: of.excluded.iter().cloned().map(left_out).collect(),
        run: Some(run(of)),
        tasks: tasks.into_iter().map(task).collect(),
        events: events.into_iter().map(step).collect(),
        notes: notes.into_iter().map(note).collect(),
    }
}

fn left_out(excluded: Excluded) -> v1::LeftOut {
    let Excluded {
        host,
        reason,
        by_plan,
    } = excluded;
    v1::LeftOut {
        host: host.into(),
        reason,
        by_plan,
    }
}

pub(in crate::service) fn note(record: NoteRecord) -> v1::Note {
    let NoteRecord { task, at, by, text } = record;
    v1::Note {
        task: task.map(|task| task.to_string()).unwrap_or_default(),
        at: Some(wire::timestamp(at)),
        by,
        text,
    }
}

fn step(record: EventRecord) -> v1::TaskEvent {
    let EventRecord {
        task,
        at,
        state,
        attempt,
        message,
    } = record;
    v1::TaskEvent {
        task: task.to_string(),
        at: Some(wire::timestamp(at)),
        state: v1::TaskState::from(state).into(),
        attempt,
        message,
    }
}

pub(in crate::service) fn event(event: Event) -> v1::RunEvent {
    let event = match event {
        Event::Run(record) => v1::run_event::Event::Run(run(*record)),
        Event::Task(view) => v1::run_event::Event::Task(task(*view)),
    };
    v1::RunEvent { event: Some(event) }
}

pub(in crate::service) fn report(view: ReportView) -> v1::ReportDocument {
    let ReportView {
        task,
        host,
        kind,
        document,
    } = view;
    v1::ReportDocument {
        task: task.to_string(),
        host: host.into(),
        kind,
        document,
    }
}
