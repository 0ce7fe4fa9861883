//! `dr-agent run`.

use clap::Args;

use crate::daemon;
use crate::error::Outcome;
use crate::session::Session;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let Arguments {} = arguments;
    daemon::run(session).await
}
