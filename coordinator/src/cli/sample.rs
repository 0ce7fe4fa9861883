//! `dr-coordinator sample`.

use dr_proto::model::exit::Code;
use dr_terminal::Ui;

use crate::config::SAMPLE;
use crate::error::Outcome;

pub(super) fn run(ui: &Ui) -> Outcome {
    ui.data(SAMPLE)?;
    Ok(Code::Done)
}
