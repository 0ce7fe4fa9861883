//! The command line: one file a command; errors, exit codes and the configuration in one place for all.

mod backup;
mod completion;
mod pki;
mod recover;
mod run;
mod sample;
mod start;
mod version;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dr_terminal::start::EXIT_CODES;
use dr_terminal::{ColorChoice, Format, Options, Ui};

pub use self::start::main;
use crate::config::{self, Config, DEFAULT_PATH};
use crate::error::{Failure, Outcome};

/// The coordinator of a fleet: tracks the drill schedule, drives the agents, keeps what they proved.
#[derive(Debug, Parser)]
#[command(name = "dr-coordinator", version, about, max_term_width = 100, after_help = EXIT_CODES)]
#[command(
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", env = "DR_COORDINATOR_CONFIG", hide_env_values = true,
          default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// How results are printed
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = false
    )]
    output: Format,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t)]
    color: ColorChoice,
    /// Only warnings and errors beside the result
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Tell more; twice for details. DR_COORDINATOR_LOG takes a filter
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Global {
    fn ui(&self) -> Ui {
        Ui::new(Options {
            format: self.output,
            color: self.color,
            ci: false,
            quiet: self.quiet,
        })
    }

    fn load(&self) -> Result<Config, Failure> {
        let variables: Vec<_> = std::env::vars_os().collect();
        Ok(config::load(&self.config, &variables)?)
    }

    /// The filter of log events: a variable, else by `--quiet` and `--verbose`. The daemon tells what it does.
    fn filter(&self, daemon: bool) -> String {
        match std::env::var("DR_COORDINATOR_LOG") {
            Ok(filter) if !filter.is_empty() => filter,
            _ => match (self.quiet, self.verbose) {
                (true, _) => "warn".to_owned(),
                (_, 0) if daemon => {
                    "warn,dr_coordinator=info,dr_store=info,dr_proto=info,dr_telemetry=info".to_owned()
                }
                (_, 0) => "warn".to_owned(),
                (_, 1) => "info".to_owned(),
                (_, _) => "info,dr_coordinator=debug,dr_store=debug,dr_proto=debug".to_owned(),
            },
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the coordinator
    Run,
    /// Write an encrypted copy of the store now, beside a running coordinator or without one
    Backup(backup::Arguments),
    /// Make a store from an encrypted copy; never over a store that is there
    Recover(recover::Arguments),
    /// Make and renew the fleet's own certificates
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Pki(pki::Arguments),
    /// Print a commented configuration to start from
    Sample,
    /// Print versions
    Version,
    /// Print a completion script for a shell
    Completion(completion::Arguments),
}

impl Command {
    async fn execute(self, global: &Global, ui: &Ui) -> Outcome {
        match self {
            Self::Run => run::run(ui, global.load()?).await,
            Self::Backup(arguments) => backup::run(global, ui, &arguments).await,
            Self::Recover(arguments) => recover::run(global, ui, &arguments).await,
            Self::Pki(arguments) => pki::run(ui, arguments).await,
            Self::Sample => sample::run(ui),
            Self::Version => version::run(ui),
            Self::Completion(arguments) => completion::run(ui, &arguments),
        }
    }

    fn is_daemon(&self) -> bool {
        matches!(self, Self::Run)
    }
}
