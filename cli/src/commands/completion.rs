//! `drctl completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use dr_proto::model::exit::Code;
use serde::Serialize;

use super::Cli;
use crate::error::Outcome;
use crate::session::Session;

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "drctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    if session.ui.is_json() {
        let shell = arguments.shell.to_string();
        session.answer(&Script { shell, script })?;
    } else {
        session.ui.data(&script)?;
    }
    Ok(Code::Done)
}
