//! `drctl status`.

use dr_proto::model::exit::Code;
use dr_proto::view::{Readiness, Severity, Status};
use dr_terminal::{Cell, Table, Tone, Ui};
use jiff::Timestamp;

use crate::error::Outcome;
use crate::session::Session;
use crate::show::{ago, dash, length, short_time};

pub(super) async fn run(session: &Session) -> Outcome {
    let coordinator = session.coordinator().await?;
    let status = session
        .until_interrupted(async { Ok(coordinator.status().await?) })
        .await?;
    if session.ui.is_json() {
        session.answer(&status)?;
    } else {
        print(&session.ui, &status)?;
    }
    Ok(Code::Done)
}

fn print(ui: &Ui, status: &Status) -> std::io::Result<()> {
    ui.data(&format!(
        "coordinator {} at {}; agents: {} connected, {} lost; runs: {} active; tasks: {} queued, {} running",
        status.version,
        short_time(status.now),
        status.agents_connected,
        status.agents_lost,
        status.runs_active,
        status.tasks_queued,
        status.tasks_running
    ))?;
    for entry in &status.suspensions {
        let line = format!(
            "SUSPENDED {} until {} by {}: {}",
            entry.scope,
            short_time(entry.until),
            entry.by,
            entry.reason
        );
        ui.data(&ui.paint(Tone::Warn, &line))?;
    }
    concerns(ui, status)?;
    readiness(ui, &status.readiness, status.now)?;
    for reconciler in &status.reconcilers {
        if let Some(error) = &reconciler.last_error {
            let line = format!("reconciler {} failed: {error}", reconciler.name);
            ui.data(&ui.paint(Tone::Bad, &line))?;
        }
    }
    Ok(())
}

fn concerns(ui: &Ui, status: &Status) -> std::io::Result<()> {
    if status.concerns.is_empty() {
        return ui.data(&ui.paint(Tone::Good, "nothing needs anybody"));
    }
    ui.data("")?;
    for concern in &status.concerns {
        let (mark, tone) = match concern.severity {
            Severity::Page => ("PAGE  ", Tone::Bad),
            Severity::Ticket => ("TICKET", Tone::Warn),
        };
        let place = [concern.host.as_deref(), concern.source.as_deref()];
        let place: Vec<&str> = place.into_iter().flatten().collect();
        let place = if place.is_empty() {
            "fleet".to_owned()
        } else {
            place.join("/")
        };
        ui.data(&format!(
            "{} {place}: {} ({})",
            ui.paint(tone, mark),
            concern.message,
            concern.kind
        ))?;
        if !concern.remedy.is_empty() {
            ui.data(&format!("       {}", concern.remedy))?;
        }
    }
    Ok(())
}

/// What breaks objectives first.
fn readiness(ui: &Ui, all: &[Readiness], now: Timestamp) -> std::io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    ui.data("")?;
    let mut sorted: Vec<&Readiness> = all.iter().collect();
    sorted.sort_by_key(|entry| {
        (
            std::cmp::Reverse(entry.breached.len()),
            &entry.host,
            &entry.source,
        )
    });
    let mut table = Table::new(&[
        "host", "source", "snapshot", "proof", "proved", "rto", "rpo", "breached",
    ]);
    for entry in sorted {
        let against = |value: Option<std::time::Duration>, objective: Option<std::time::Duration>| {
            let objective = objective.map(|objective| format!(" of {}", length(objective)));
            format!("{}{}", dash(value.map(length)), objective.unwrap_or_default())
        };
        let breached = entry.breached.join(", ");
        table.row([
            entry.host.clone().into(),
            entry.source.clone().into(),
            entry
                .last_snapshot
                .map_or_else(|| "never".into(), |at| Cell::from(ago(at, now))),
            entry.proof.to_string().into(),
            entry
                .last_proof
                .map_or_else(|| "never".into(), |at| ago(at, now).into()),
            against(entry.rto, entry.rto_objective).into(),
            against(entry.rpo_worst, entry.rpo_objective).into(),
            if breached.is_empty() {
                "-".into()
            } else {
                Cell::toned(Tone::Bad, breached)
            },
        ]);
    }
    table.print(ui)
}
