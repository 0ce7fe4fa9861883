//! `drctl restore …`: from one host's repository onto the same or another host.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dr_proto::model::units::Period;
use dr_proto::model::{Existing, HostName, RestoreWork, Work};
use dr_terminal::arguments::{period, said};

use super::run::{self, Cancel};
use super::wait::{self, Following, Waiting};
use crate::coordinator::{What, Where};
use crate::error::{Class, Failure, Outcome};
use crate::session::Session;

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the host what a restore would do: files, bytes, space; nothing is written
    Plan {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        following: Following,
    },
    /// Restore
    #[command(
        after_long_help = "Examples:\n  drctl restore plan --from db-1 --to /srv/restore\n  \
                                 drctl restore start --from db-1 --table notes --to /srv/restore --wait\n  \
                                 drctl restore start --from db-1 --snapshot 0192b7 --to-host db-2 --to /srv/restore --wait"
    )]
    Start {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Watch a restore until its end
    Watch {
        /// The run's id, or the beginning of it
        restore: String,
        #[command(flatten)]
        following: Following,
    },
    /// Cancel a restore; what stood at the target stays as it was
    Cancel(Cancel),
    /// Go on with a restore that did not end well; files that are right already are kept
    Resume {
        /// The run's id, or the beginning of it
        restore: String,
        #[command(flatten)]
        waiting: Waiting,
    },
}

#[derive(Debug, Args)]
struct Wanted {
    /// The host whose snapshot is restored
    #[arg(long = "from", value_name = "HOST")]
    from_host: HostName,
    /// The snapshot: `latest`, an id, or the beginning of one
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    /// Only this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Only this table of a database
    #[arg(long, value_name = "TABLE", conflicts_with = "paths")]
    table: Option<String>,
    /// Only what lies at this path in a source; `*`, `?` and `**` are understood; may be given several times
    #[arg(long = "path", value_name = "GLOB")]
    paths: Vec<String>,
    /// The host to restore on; the one that the snapshot is of if not given
    #[arg(long, value_name = "HOST")]
    to_host: Option<HostName>,
    /// The folder below which each source gets a folder of its name; the host's own file must allow it
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// What may happen to what stands at the target
    #[arg(long, value_enum, default_value_t)]
    existing: Policy,
    /// Fetch every byte, also of files that stand at the target and have the right hash
    #[arg(long)]
    fetch_all: bool,
    /// How long it may take; four hours if not given
    #[arg(long, value_name = "TIME", value_parser = period)]
    deadline: Option<Period>,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: Option<String>,
}

/// What may happen to what stands at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Policy {
    /// Nothing: the target must be absent or empty
    #[default]
    Refuse,
    /// The folder is exchanged as a whole; the old one stays beside it
    Exchange,
    /// What is restored is exchanged entry by entry; everything else in the folder stays
    Entries,
}

impl Wanted {
    fn into_what(self, plan_only: bool) -> Result<What, Failure> {
        if !self.to.is_absolute() {
            let message = format!(
                "--to {} is not absolute: it is a folder on the other host",
                self.to.display()
            );
            return Err(Failure::new(Class::Usage, message));
        }
        let on = self.to_host.unwrap_or_else(|| self.from_host.clone());
        let work = RestoreWork {
            from_host: (on != self.from_host).then_some(self.from_host),
            snapshot: self.snapshot,
            sources: self.sources,
            table: self.table,
            paths: self.paths,
            to: self.to,
            existing: match self.existing {
                Policy::Refuse => Existing::Refuse,
                Policy::Exchange => Existing::Exchange,
                Policy::Entries => Existing::Entries,
            },
            fetch_all: self.fetch_all,
            plan_only,
        };
        Ok(What::Work {
            hosts: Where::Host(on),
            work: Box::new(Work::Restore(work)),
            deadline: self.deadline.map(|period| period.0),
            reason: self.reason,
        })
    }
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Plan { wanted, following } => {
            let waiting = Waiting {
                wait: true,
                following,
            };
            wait::start(session, wanted.into_what(true)?, &waiting).await
        }
        Command::Start { wanted, waiting } => wait::start(session, wanted.into_what(false)?, &waiting).await,
        Command::Watch { restore, following } => run::watch(session, restore, &following).await,
        Command::Cancel(arguments) => run::cancel(session, arguments).await,
        Command::Resume { restore, waiting } => run::retry(session, restore, &waiting).await,
    }
}
