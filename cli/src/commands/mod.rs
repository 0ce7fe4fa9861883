//! The command line: one file a command. A command takes its arguments and a [`Session`], asks the coordinator,
//! prints the answer and ends with an exit code.

mod agent;
mod audit;
mod check;
mod completion;
mod context;
mod doctor;
mod drill;
mod hosts;
mod inventory;
mod login;
mod plan;
mod report;
mod restore;
mod run;
mod snapshot;
mod source;
mod status;
mod suspend;
mod token;
mod version;
mod wait;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dr_proto::model::units::Period;
use dr_terminal::arguments::period;
use dr_terminal::{ColorChoice, Format, Options};

use crate::contexts::Wanted;
use crate::error::Outcome;
use crate::session::Session;

/// Drills, snapshots and restores over a fleet of hosts with LanceDB databases and audit logs.
#[derive(Debug, Parser)]
#[command(name = "drctl", version, max_term_width = 100, after_help = dr_terminal::start::EXIT_CODES)]
#[command(
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The context to use, instead of the current one
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DRCTL_CONTEXT",
        hide_env_values = true
    )]
    context: Option<String>,
    /// The coordinator, instead of the context's: https://host:port; several are tried in order
    #[arg(
        long = "endpoint",
        global = true,
        value_name = "URL",
        env = "DRCTL_ENDPOINT",
        value_delimiter = ',',
        hide_env_values = true
    )]
    endpoints: Vec<String>,
    /// Your certificate, instead of the context's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DRCTL_CERTIFICATE",
        hide_env_values = true
    )]
    certificate: Option<PathBuf>,
    /// The certificate's key, instead of the context's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DRCTL_PRIVATE_KEY",
        hide_env_values = true
    )]
    private_key: Option<PathBuf>,
    /// Roots that the coordinator must come from, instead of the context's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DRCTL_TRUST_BUNDLE",
        hide_env_values = true
    )]
    trust_bundle: Option<PathBuf>,
    /// The file with contexts; drctl/config.toml in the folder of your configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DRCTL_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// How long one call to the coordinator may take
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DRCTL_TIMEOUT",
        hide_env_values = true,
        default_value = "30s",
        value_parser = period
    )]
    pub(crate) timeout: Period,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Format,
    /// For build servers: no colours, no prompts, plain progress, a summary where the server asks for one
    #[arg(long, global = true)]
    ci: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t)]
    color: ColorChoice,
    /// Only warnings and errors beside the result
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tell more, with the id of the trace; twice for details. DRCTL_LOG takes a filter
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    pub(crate) fn ui(&self) -> Options {
        Options {
            format: self.output,
            color: self.color,
            ci: self.ci,
            quiet: self.quiet,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.output == Format::Json
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            config: self.config.clone(),
            context: self.context.clone(),
            endpoints: self.endpoints.clone(),
            certificate: self.certificate.clone(),
            private_key: self.private_key.clone(),
            trust_bundle: self.trust_bundle.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One screen of readiness, worst first
    Status,
    /// Check certificates, clocks, reachability, roles and coverage, each with the fix
    Doctor,
    /// Make a context: a coordinator, and your certificate for it
    Login(login::Arguments),
    /// Choose among contexts
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Context(context::Arguments),
    /// Hosts and their agents: enrol, look, shut out
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Agent(agent::Arguments),
    /// Which hosts should be there, and which are
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Inventory(inventory::Arguments),
    /// What hosts protect
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Source(source::Arguments),
    /// Take snapshots, look at them, hold and release them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Snapshot(snapshot::Arguments),
    /// Rehearse recoveries, and look at what they proved
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Drill(drill::Arguments),
    /// Plans: what is rehearsed where and when
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Plan(plan::Arguments),
    /// Runs: one slot of a plan over the fleet, or one request
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Run(run::Arguments),
    /// Let nothing start for a while; what runs goes on
    Suspend(suspend::Suspend),
    /// End a suspension
    Resume(suspend::Resume),
    /// Restore snapshots, also from one host to another
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Restore(restore::Arguments),
    /// Look at live data on hosts; read-only
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Check(check::Arguments),
    /// Reports of what was measured
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Report(report::Arguments),
    /// The coordinator's own audit log
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Audit(audit::Arguments),
    /// Print versions
    Version(version::Arguments),
    /// Print a completion script for a shell
    Completion(completion::Arguments),
}

impl Command {
    /// The word for traces.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Doctor => "doctor",
            Self::Login(_) => "login",
            Self::Context(_) => "context",
            Self::Agent(_) => "agent",
            Self::Inventory(_) => "inventory",
            Self::Source(_) => "source",
            Self::Snapshot(_) => "snapshot",
            Self::Drill(_) => "drill",
            Self::Plan(_) => "plan",
            Self::Run(_) => "run",
            Self::Suspend(_) => "suspend",
            Self::Resume(_) => "resume",
            Self::Restore(_) => "restore",
            Self::Check(_) => "check",
            Self::Report(_) => "report",
            Self::Audit(_) => "audit",
            Self::Version(_) => "version",
            Self::Completion(_) => "completion",
        }
    }

    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Status => status::run(session).await,
            Self::Doctor => doctor::run(session).await,
            Self::Login(arguments) => login::run(session, arguments).await,
            Self::Context(arguments) => context::run(session, arguments),
            Self::Agent(arguments) => agent::run(session, arguments).await,
            Self::Inventory(arguments) => inventory::run(session, arguments).await,
            Self::Source(arguments) => source::run(session, arguments).await,
            Self::Snapshot(arguments) => snapshot::run(session, arguments).await,
            Self::Drill(arguments) => drill::run(session, arguments).await,
            Self::Plan(arguments) => plan::run(session, arguments).await,
            Self::Run(arguments) => run::run(session, arguments).await,
            Self::Suspend(arguments) => suspend::suspend(session, arguments).await,
            Self::Resume(arguments) => suspend::resume(session, arguments).await,
            Self::Restore(arguments) => restore::run(session, arguments).await,
            Self::Check(arguments) => check::run(session, arguments).await,
            Self::Report(arguments) => report::run(session, arguments).await,
            Self::Audit(arguments) => audit::run(session, arguments).await,
            Self::Version(arguments) => version::run(session, arguments).await,
            Self::Completion(arguments) => completion::run(session, &arguments),
        }
    }
}
