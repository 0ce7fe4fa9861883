//! `dr-coordinator completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use dr_proto::model::exit::Code;
use dr_terminal::Ui;

use super::Cli;
use crate::error::Outcome;

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(ui: &Ui, arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "dr-coordinator",
        &mut script,
    );
    ui.data(&String::from_utf8_lossy(&script))?;
    Ok(Code::Done)
}
