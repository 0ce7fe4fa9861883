//! `dr-agent completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::error::Outcome;
use crate::exit::Code;
use crate::session::Session;

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "dr-agent", &mut script);
    session.ui.data(&String::from_utf8_lossy(&script))?;
    Ok(Code::Done)
}
