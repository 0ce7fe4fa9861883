//! `drctl version`.

use clap::Args;
use dr_proto::model::exit::Code;
use serde::Serialize;

use crate::error::Outcome;
use crate::session::Session;

/// Arguments of `version`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Ask the coordinator for its version too
    #[arg(long)]
    coordinator: bool,
}

#[derive(Serialize)]
struct Versions {
    drctl: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinator: Option<String>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let mut versions = Versions {
        drctl: env!("CARGO_PKG_VERSION"),
        coordinator: None,
    };
    if arguments.coordinator {
        let coordinator = session.coordinator().await?;
        let status = session
            .until_interrupted(async { Ok(coordinator.status().await?) })
            .await?;
        versions.coordinator = Some(status.version);
    }
    if session.ui.is_json() {
        session.answer(&versions)?;
        return Ok(Code::Done);
    }
    session.ui.data(&format!("drctl {}", versions.drctl))?;
    if let Some(coordinator) = &versions.coordinator {
        session.ui.data(&format!("dr-coordinator {coordinator}"))?;
    }
    Ok(Code::Done)
}
