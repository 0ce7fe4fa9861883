//! `dr-coordinator recover`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dr_proto::model::exit::Code;
use dr_store::SystemClock;
use dr_store::audit::Chain;
use dr_terminal::Ui;
use serde::Serialize;

use super::Global;
use crate::error::Outcome;
use crate::reconcile::backup::{self, Recovered};

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The copy
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// A file with the age identity that opens it
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
}

#[derive(Serialize)]
struct Report {
    store: PathBuf,
    runs: u64,
    epoch: u64,
    audit_intact: bool,
    audit_entries: u64,
    audit_broken_at: Option<u64>,
}

pub(super) async fn run(global: &Global, ui: &Ui, arguments: &Arguments) -> Outcome {
    let config = global.load()?;
    let by = "dr-coordinator recover";
    let clock = Arc::new(SystemClock);
    let recovered = backup::recover(&arguments.from, &arguments.identity, &config.store, by, clock).await?;
    let report = report(recovered);
    if ui.is_json() {
        ui.json(&report)?;
    } else {
        ui.data(&report.store.display().to_string())?;
        ui.say(&format!("{} runs, incarnation {}", report.runs, report.epoch));
        ui.say("Start the coordinator: agents attach again and tell what they did since the copy was made");
    }
    match report.audit_broken_at {
        None => Ok(Code::Done),
        Some(number) => {
            ui.warn(&format!(
                "the audit log of the copy is broken at entry {number}; `drctl audit verify` tells why"
            ));
            Ok(Code::Partial)
        }
    }
}

fn report(recovered: Recovered) -> Report {
    let (audit_intact, audit_entries, audit_broken_at) = match recovered.checked.audit {
        Chain::Intact { entries, .. } => (true, entries, None),
        Chain::Broken { entries, at, .. } => (false, entries, Some(at)),
    };
    Report {
        store: recovered.path,
        runs: recovered.checked.runs,
        epoch: recovered.checked.epoch,
        audit_intact,
        audit_entries,
        audit_broken_at,
    }
}
