//! `drctl snapshot …`.

use clap::{Args, Subcommand};
use dr_proto::model::exit::Code;
use dr_proto::model::units::{Period, Size};
use dr_proto::model::{HoldChange, HoldTerms, HoldWork, HostName, SnapshotWork, Work};
use dr_proto::view::HostSnapshot;
use dr_terminal::arguments::{period, said};
use dr_terminal::{Cell, Table, Tone, Ui};
use jiff::Timestamp;
use serde::Serialize;

use super::hosts::Hosts;
use super::wait::{self, Following, Waiting};
use crate::coordinator::{What, Where};
use crate::error::{Class, Failure, Outcome};
use crate::session::Session;
use crate::show::short_time;

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a snapshot on one host or on all that match
    #[command(
        after_long_help = "Examples:\n  drctl snapshot create --host db-1 --reason pre-upgrade --hold 30d --wait\n  drctl snapshot create --select env=prod --wait"
    )]
    Create(Create),
    /// List snapshots, newest first; suspects and held ones are marked
    List {
        /// Only those of this host
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
    /// Show one snapshot
    Show {
        /// Its id, or the beginning of it
        snapshot: String,
        /// The host, where several have one that begins so
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
    /// Hold a snapshot: retention leaves it and what it needs alone
    #[command(after_long_help = "Example:\n  drctl snapshot hold db-1 latest --for 30d --reason pre-upgrade")]
    Hold(Hold),
    /// End every hold on a snapshot
    Release(Release),
}

#[derive(Debug, Args)]
struct Hold {
    /// The host
    host: HostName,
    /// `latest`, the snapshot's id, or the beginning of it
    snapshot: String,
    /// For how long, such as 30d; until it is released if not given
    #[arg(long = "for", value_name = "TIME", value_parser = period)]
    lasts: Option<Period>,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
struct Release {
    /// The host
    host: HostName,
    /// `latest`, the snapshot's id, or the beginning of it
    snapshot: String,
    /// Why; it is kept beside the hold
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
struct Change {
    /// How long the host may take; four hours if not given
    #[arg(long, value_name = "TIME", value_parser = period)]
    deadline: Option<Period>,
    /// Ask for it and do not wait until it is done
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    following: Following,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    hosts: Hosts,
    /// Only this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Read every file again, also those that can not have changed
    #[arg(long)]
    reread: bool,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", value_parser = said)]
    reason: Option<String>,
    /// Hold it for so long, such as 30d: retention leaves it alone. The reason is that of the snapshot
    #[arg(long, value_name = "TIME", requires = "reason", value_parser = period)]
    hold: Option<Period>,
    /// The cut is right although it looks suspect: you looked at the data. Later ones are compared with it
    #[arg(long, requires = "reason")]
    accept: bool,
    /// How long each host may take; four hours if not given
    #[arg(long, value_name = "TIME", value_parser = period)]
    deadline: Option<Period>,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Serialize)]
struct Snapshots {
    snapshots: Vec<HostSnapshot>,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Create(arguments) => create(session, arguments).await,
        Command::List { host } => {
            let snapshots = all(session, host).await?;
            if session.ui.is_json() {
                session.answer(&Snapshots { snapshots })?;
            } else if snapshots.is_empty() {
                session.ui.say("No snapshots: `drctl snapshot create` takes one");
            } else {
                list(&session.ui, &snapshots, (session.now)())?;
            }
            Ok(Code::Done)
        }
        Command::Show { snapshot, host } => {
            let found = find(all(session, host).await?, &snapshot)?;
            if session.ui.is_json() {
                session.answer(&found)?;
            } else {
                show(&session.ui, &found, (session.now)())?;
            }
            Ok(Code::Done)
        }
        Command::Hold(arguments) => {
            let set = HoldChange::Set(HoldTerms {
                reason: arguments.reason.clone(),
                lasts_seconds: arguments.lasts.map(|period| period.0.as_secs()),
            });
            let of = (arguments.host, arguments.snapshot);
            change(session, of, set, arguments.reason, arguments.change).await
        }
        Command::Release(arguments) => {
            let reason = arguments.reason.clone();
            let of = (arguments.host, arguments.snapshot);
            change(
                session,
                of,
                HoldChange::Release { reason },
                arguments.reason,
                arguments.change,
            )
            .await
        }
    }
}

/// Lets the host's agent write into its repository what becomes of a snapshot's holds.
async fn change(
    session: &Session,
    (host, snapshot): (HostName, String),
    change: HoldChange,
    reason: String,
    how: Change,
) -> Outcome {
    let what = What::Work {
        hosts: Where::Host(host),
        work: Box::new(Work::Hold(HoldWork { snapshot, change })),
        deadline: how.deadline.map(|period| period.0),
        reason: Some(reason),
    };
    let waiting = Waiting {
        wait: !how.detach,
        following: how.following,
    };
    wait::start(session, what, &waiting).await
}

async fn create(session: &Session, arguments: Create) -> Outcome {
    let hold = arguments.hold.map(|period| HoldTerms {
        reason: arguments.reason.clone().unwrap_or_default(),
        lasts_seconds: Some(period.0.as_secs()),
    });
    let work = SnapshotWork {
        sources: arguments.sources,
        reread: arguments.reread,
        reason: arguments.reason.clone(),
        hold,
        accept: arguments.accept,
    };
    let what = What::Work {
        hosts: arguments.hosts.where_to(),
        work: Box::new(Work::Snapshot(work)),
        deadline: arguments.deadline.map(|period| period.0),
        reason: arguments.reason,
    };
    wait::start(session, what, &arguments.waiting).await
}

async fn all(session: &Session, host: Option<HostName>) -> Result<Vec<HostSnapshot>, Failure> {
    let coordinator = session.coordinator().await?;
    let host = host.map(|host| host.to_string());
    session
        .until_interrupted(async { Ok(coordinator.snapshots(host).await?) })
        .await
}

/// The one whose id begins so.
fn find(snapshots: Vec<HostSnapshot>, wanted: &str) -> Result<HostSnapshot, Failure> {
    let wanted = wanted.to_ascii_lowercase();
    let mut found = snapshots
        .into_iter()
        .filter(|entry| entry.snapshot.id.starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => Err(Failure::new(
            Class::Usage,
            format!(
                "several snapshots begin with `{wanted}`: {} of {}, {} of {}",
                one.snapshot.id, one.host, other.snapshot.id, other.host
            ),
        )
        .hint("give more of the id, or --host")),
        (None, _) => Err(Failure::new(
            Class::NotFound,
            format!("no host that is known has a snapshot whose id begins with `{wanted}`"),
        )
        .hint("`drctl snapshot list` shows them; agents tell of new ones after each snapshot")),
    }
}

fn list(ui: &Ui, snapshots: &[HostSnapshot], now: Timestamp) -> std::io::Result<()> {
    let mut table = Table::new(&["host", "snapshot", "cut", "size", "sources", "notes"]).figures(&[3]);
    for HostSnapshot { host, snapshot } in snapshots {
        let mut notes = Vec::new();
        notes.extend(snapshot.suspect.as_ref().map(|why| format!("suspect: {why}")));
        notes.extend((!snapshot.exact).then(|| "window".to_owned()));
        notes.extend(snapshot.hold.as_ref().map(|hold| hold.note(now)));
        notes.extend(snapshot.reason.clone());
        table.row([
            Cell::from(host.clone()),
            snapshot.id.chars().take(12).collect::<String>().into(),
            short_time(snapshot.cut).into(),
            Size(snapshot.bytes).to_string().into(),
            snapshot.sources.join(", ").into(),
            match snapshot.suspect {
                Some(_) => Cell::toned(Tone::Bad, notes.join("; ")),
                None => notes.join("; ").into(),
            },
        ]);
    }
    table.print(ui)
}

fn show(ui: &Ui, found: &HostSnapshot, now: Timestamp) -> std::io::Result<()> {
    let snapshot = &found.snapshot;
    let cut = if snapshot.exact { "exact" } else { "a window" };
    ui.data(&format!("snapshot  {}", snapshot.id))?;
    ui.data(&format!("host      {}", found.host))?;
    ui.data(&format!("cut       {} ({cut})", short_time(snapshot.cut)))?;
    ui.data(&format!("size      {}", Size(snapshot.bytes)))?;
    ui.data(&format!("sources   {}", snapshot.sources.join(", ")))?;
    if let Some(reason) = &snapshot.reason {
        ui.data(&format!("reason    {reason}"))?;
    }
    if let Some(hold) = &snapshot.hold {
        ui.data(&format!("hold      {}", hold.note(now)))?;
    }
    if let Some(why) = &snapshot.suspect {
        ui.data(&ui.paint(Tone::Bad, &format!("SUSPECT   {why}")))?;
    }
    Ok(())
}
