//! The command line: one file a command. A command takes its arguments and a [`Session`], prints its result and
//! answers with an exit code; it holds no logic of its own.

mod check;
mod completion;
mod daemon;
mod discover;
mod doctor;
mod drill;
mod enroll;
mod evidence;
mod init;
mod repository;
mod restore;
mod run;
mod snapshot;
mod snapshots;
mod suspend;
mod version;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::run::main;
use crate::config::Overrides;
use crate::error::Outcome;
use crate::session::Session;
use crate::ui::{ColorChoice, Format, Options};

/// The agent of one data host: takes snapshots, restores them, and proves by drills that they can be restored.
#[derive(Debug, Parser)]
#[command(name = "dr-agent", version, about, max_term_width = 100, after_help = dr_terminal::start::EXIT_CODES)]
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
    /// The configuration; /etc/drctl/agent.toml if that exists
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DR_AGENT_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// The repository, instead of the configured one: s3://bucket/prefix or file:///dir
    #[arg(long, global = true, value_name = "URL")]
    repository: Option<String>,
    /// The key that opens it (an age identity), instead of the configured one
    #[arg(long, global = true, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A file whose first line is a passphrase that opens it
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "identity")]
    passphrase_file: Option<PathBuf>,
    /// Where the agent keeps its state, instead of the configured folder
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// How results are printed
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = false
    )]
    output: Format,
    /// For build servers: no colours, no prompts, plain progress, and a page where GITHUB_STEP_SUMMARY asks for one
    #[arg(long, global = true)]
    ci: bool,
    /// Do not yield to the host's own work (nice 10, I/O class idle, limits.cpu): for a restore that people wait for
    #[arg(long, global = true)]
    full_speed: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t)]
    color: ColorChoice,
    /// Only warnings and errors beside the result
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Tell more; twice for details. DR_AGENT_LOG takes a filter
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Global {
    fn ui(&self) -> Options {
        Options {
            format: self.output,
            color: self.color,
            ci: self.ci,
            quiet: self.quiet,
        }
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            repository: self.repository.clone(),
            identity: self.identity.clone(),
            state_dir: self.state_dir.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as this host's daemon: do what the coordinator asks, and go on without it
    Run(daemon::Arguments),
    /// Trade a token for this host's certificate: it then belongs to a coordinator's fleet
    Enroll(enroll::Arguments),
    /// Make this host's repository and its keys
    Init(init::Arguments),
    /// Find databases and audit logs and write a configuration for them
    Discover(discover::Arguments),
    /// Check everything that snapshots and drills need, each with the fix
    Doctor(doctor::Arguments),
    /// Take a snapshot of the configured sources
    Snapshot(snapshot::Arguments),
    /// Restore a snapshot, a source, a table or some files
    Restore(restore::Arguments),
    /// Rehearse the recovery of a snapshot and measure it
    Drill(drill::Arguments),
    /// Look at the snapshots in the repository; hold one, or release it
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Snapshots(snapshots::Arguments),
    /// Look at the store: is everything there and undamaged, and how much is it
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Repository(repository::Arguments),
    /// Look at the live sources and at their protection; read-only
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Check(check::Arguments),
    /// Let nothing start on this host; what runs stops at its next safe point
    Suspend(suspend::Suspend),
    /// Let work start on this host again
    Resume(suspend::Resume),
    /// Print versions
    Version,
    /// Print a completion script for a shell
    Completion(completion::Arguments),
}

impl Command {
    /// Whether it runs without a configuration file even where one lies in the default place, because it needs
    /// none: a broken file must not keep anybody from asking for the version.
    fn is_bare(&self) -> bool {
        matches!(self, Self::Version | Self::Completion(_) | Self::Discover(_))
    }

    /// Whether it is the daemon: it logs for collectors, not for people.
    fn is_daemon(&self) -> bool {
        matches!(self, Self::Run(_))
    }

    /// Whether it reads, computes or writes so much that the host's own work must come first.
    fn works(&self) -> bool {
        !matches!(
            self,
            Self::Version | Self::Completion(_) | Self::Init(_) | Self::Snapshots(_) | Self::Doctor(_)
        )
    }

    async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Enroll(arguments) => enroll::run(session, arguments).await,
            Self::Init(arguments) => init::run(session, arguments).await,
            Self::Discover(arguments) => discover::run(session, arguments).await,
            Self::Doctor(arguments) => doctor::run(session, arguments).await,
            Self::Snapshot(arguments) => snapshot::run(session, arguments).await,
            Self::Restore(arguments) => restore::run(session, arguments).await,
            Self::Drill(arguments) => drill::run(session, arguments).await,
            Self::Snapshots(arguments) => snapshots::run(session, arguments).await,
            Self::Repository(arguments) => repository::run(session, arguments).await,
            Self::Check(arguments) => check::run(session, arguments).await,
            Self::Run(arguments) => daemon::run(session, arguments).await,
            Self::Suspend(arguments) => suspend::suspend(session, &arguments),
            Self::Resume(arguments) => suspend::resume(session, &arguments),
            Self::Version => version::run(session),
            Self::Completion(arguments) => completion::run(session, &arguments),
        }
    }
}
