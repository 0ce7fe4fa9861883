//! `dr-agent version`.

use serde::Serialize;

use crate::error::Outcome;
use crate::exit::Code;
use crate::session::Session;

#[derive(Serialize)]
struct Versions {
    agent: &'static str,
    repository_format: u32,
}

pub(super) fn run(session: &Session) -> Outcome {
    let versions = Versions {
        agent: env!("CARGO_PKG_VERSION"),
        repository_format: dr_vault::FORMAT_VERSION,
    };
    if session.ui.is_json() {
        session.ui.json(&versions)?;
    } else {
        session.ui.data(&format!(
            "dr-agent {}, repository format {}",
            versions.agent, versions.repository_format
        ))?;
    }
    Ok(Code::Done)
}
