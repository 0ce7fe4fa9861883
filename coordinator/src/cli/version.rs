//! `dr-coordinator version`.

use dr_proto::model::PROTOCOL;
use dr_proto::model::exit::Code;
use dr_terminal::Ui;
use serde::Serialize;

use crate::error::Outcome;

#[derive(Serialize)]
struct Versions {
    coordinator: &'static str,
    protocol: u32,
}

pub(super) fn run(ui: &Ui) -> Outcome {
    let versions = Versions {
        coordinator: env!("CARGO_PKG_VERSION"),
        protocol: PROTOCOL,
    };
    if ui.is_json() {
        ui.json(&versions)?;
    } else {
        ui.data(&format!(
            "dr-coordinator {}, agent protocol {}",
            versions.coordinator, versions.protocol
        ))?;
    }
    Ok(Code::Done)
}
