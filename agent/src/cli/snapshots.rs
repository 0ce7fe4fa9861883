//! `dr-agent snapshots list|show|hold|release`.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use dr_proto::model::{HoldChange, HoldInfo, HoldTerms};
use dr_terminal::arguments::{period, said};
use dr_vault::{Manifest, Repository, SnapshotId, SnapshotInfo};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::{Period, Size};
use crate::error::{Doing, Outcome, in_one_line};
use crate::exit::Code;
use crate::session::Session;
use crate::ui::{Cell, Table, Tone};
use crate::{hold, job};

/// Arguments of `snapshots`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List snapshots, newest last; suspects are marked
    List {
        /// Only the newest N
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        last: usize,
        /// Only those with this source
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// Show what one snapshot holds
    Show {
        /// `latest`, an id, or the beginning of one
        snapshot: String,
    },
    /// Hold a snapshot: retention leaves it and what it needs alone
    Hold {
        /// `latest`, an id, or the beginning of one
        snapshot: String,
        /// For how long, such as 30d; until it is released if not given
        #[arg(long = "for", value_name = "TIME", value_parser = period)]
        lasts: Option<Period>,
        /// Why, for whoever reads the list
        #[arg(long, value_name = "TEXT", value_parser = said)]
        reason: String,
    },
    /// End every hold on a snapshot
    Release {
        /// `latest`, an id, or the beginning of one
        snapshot: String,
        /// Why; it is kept beside the hold
        #[arg(long, value_name = "TEXT", value_parser = said)]
        reason: String,
    },
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::List { last, source } => {
            read(session, async |repository| {
                list(session, repository, last, source.as_deref()).await
            })
            .await
        }
        Command::Show { snapshot } => {
            read(session, async |repository| {
                show(session, repository, &snapshot).await
            })
            .await
        }
        Command::Hold {
            snapshot,
            lasts,
            reason,
        } => {
            let terms = HoldTerms {
                reason,
                lasts_seconds: lasts.map(|period| period.0.as_secs()),
            };
            change(session, snapshot, HoldChange::Set(terms)).await
        }
        Command::Release { snapshot, reason } => {
            change(session, snapshot, HoldChange::Release { reason }).await
        }
    }
}

/// Looks at the repository, and says when it may be an older one than this host remembers.
async fn read(session: &Session, look: impl AsyncFnOnce(&Repository) -> Outcome) -> Outcome {
    let repository = session.repository().await?;
    let done = session.until_stopped(look(&repository)).await;
    warn_of_age(session, &repository).await;
    done
}

async fn change(session: &Session, snapshot: String, change: HoldChange) -> Outcome {
    let changed = job::hold::run(session, job::hold::Ask { snapshot, change }).await?;
    let ui = &session.ui;
    if ui.is_json() {
        ui.json(&changed)?;
        return Ok(Code::Done);
    }
    let id = changed.snapshot;
    match &changed.set {
        Some(hold) => ui.data(&format!("snapshot {id} is {}", hold.note(session.clock.now())))?,
        None if changed.released.is_empty() => ui.data(&format!("nothing holds snapshot {id}"))?,
        None => ui.data(&format!("snapshot {id} is held no longer"))?,
    }
    for hold in &changed.released {
        ui.say(&format!("Released: {}", hold.note(session.clock.now())));
    }
    Ok(Code::Done)
}

/// One snapshot of the list.
#[derive(Serialize)]
struct Listed {
    id: String,
    cut: Timestamp,
    host: String,
    sources: Vec<String>,
    files: u64,
    bytes: u64,
    exact: Option<bool>,
    suspect: Option<String>,
    reason: Option<String>,
    /// Whether retention must leave it alone at present.
    held: bool,
    hold: Option<HoldInfo>,
}

async fn list(session: &Session, repository: &Repository, last: usize, source: Option<&str>) -> Outcome {
    let mut all = repository
        .snapshots()
        .await
        .doing(|| "list snapshots".to_owned())?;
    all.sort_by_key(|info| info.time);
    let total = all.len();
    let newest: Vec<SnapshotInfo> = all.split_off(total.saturating_sub(last));
    let mut held = hold::by_snapshot(repository)
        .await
        .doing(|| "list holds".to_owned())?;
    let now = session.clock.now();
    let (mut listed, mut damaged) = (Vec::new(), false);
    for info in &newest {
        match repository.manifest_of(info).await {
            Ok(manifest) if source.is_none_or(|name| manifest.source(name).is_some()) => {
                listed.push(listed_entry(info.id, manifest, &mut held, now));
            }
            Ok(_) => {}
            // The others are still there to be chosen from.
            Err(error) if error.is_damage() => {
                session.ui.warn(&format!(
                    "snapshot {} of {:.0} can not be opened and is not listed: {}",
                    info.id,
                    info.time,
                    in_one_line(&error)
                ));
                damaged = true;
            }
            Err(error) => return Err(error).doing(|| format!("read snapshot {}", info.id)),
        }
    }
    if session.ui.is_json() {
        session.ui.json(&listed)?;
    } else if listed.is_empty() && !damaged {
        session.ui.say("No snapshots yet: `dr-agent snapshot` takes one");
    } else {
        print(session, &listed, now)?;
        if total > newest.len() {
            session.ui.say(&format!(
                "{} of {total} snapshots; --last shows more",
                newest.len()
            ));
        }
    }
    Ok(if damaged { Code::Damaged } else { Code::Done })
}

fn listed_entry(
    id: SnapshotId,
    manifest: Manifest,
    holds: &mut HashMap<SnapshotId, HoldInfo>,
    now: Timestamp,
) -> Listed {
    let hold = holds.remove(&id);
    Listed {
        id: id.to_string(),
        cut: manifest.created,
        files: manifest.sources.iter().map(|source| source.files).sum(),
        bytes: manifest.sources.iter().map(|source| source.bytes).sum(),
        sources: manifest.sources.into_iter().map(|source| source.name).collect(),
        host: manifest.host,
        exact: manifest.window.map(|window| window.exact),
        suspect: manifest.suspect,
        reason: manifest.reason,
        held: hold.as_ref().is_some_and(|hold| !hold.has_ended(now)),
        hold,
    }
}

fn print(session: &Session, listed: &[Listed], now: Timestamp) -> std::io::Result<()> {
    let ui = &session.ui;
    let mut table = Table::new(&["snapshot", "cut", "sources", "files", "size", "notes"]).figures(&[3, 4]);
    for entry in listed {
        let mut notes = Vec::new();
        if let Some(why) = &entry.suspect {
            notes.push(format!("suspect: {why}"));
        }
        if entry.exact == Some(false) {
            notes.push("window".to_owned());
        }
        notes.extend(entry.hold.as_ref().map(|hold| hold.note(now)));
        notes.extend(entry.reason.clone());
        table.row([
            Cell::from(entry.id.chars().take(12).collect::<String>()),
            format!("{:.0}", entry.cut).into(),
            entry.sources.join(", ").into(),
            entry.files.to_string().into(),
            Size(entry.bytes).to_string().into(),
            match entry.suspect {
                Some(_) => Cell::toned(Tone::Bad, notes.join("; ")),
                None => notes.join("; ").into(),
            },
        ]);
    }
    table.print(ui)
}

/// One snapshot with its sources.
#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    #[serde(flatten)]
    manifest: &'a Manifest,
    has_facts: bool,
    hold: Option<HoldInfo>,
}

async fn show(session: &Session, repository: &Repository, wanted: &str) -> Outcome {
    let info = repository.resolve(wanted).await?;
    let manifest = repository
        .manifest(&info.id)
        .await
        .doing(|| format!("read snapshot {}", info.id))?;
    let has_facts = repository
        .facts(&info.id)
        .await
        .doing(|| "read its facts".to_owned())?
        .is_some();
    let hold = hold::by_snapshot(repository)
        .await
        .doing(|| "list holds".to_owned())?
        .remove(&info.id);
    if session.ui.is_json() {
        session.ui.json(&Shown {
            id: info.id.to_string(),
            manifest: &manifest,
            has_facts,
            hold,
        })?;
        return Ok(Code::Done);
    }
    let ui = &session.ui;
    ui.data(&format!("Snapshot {}", info.id))?;
    ui.data(&format!(
        "Cut      {:.0} on {} by {}",
        manifest.created, manifest.host, manifest.tool
    ))?;
    if let Some(window) = &manifest.window {
        let kind = if window.exact {
            "exact: nothing moved while it was taken"
        } else {
            "a window"
        };
        ui.data(&format!(
            "Moment   {kind}, {:.3} to {:.3}",
            window.from, window.to
        ))?;
    }
    let sealed = if manifest.cipher == dr_vault::Cipher::None {
        "NOT ENCRYPTED"
    } else {
        "encrypted"
    };
    ui.data(&format!("Sealed   {sealed}, for {} keys", manifest.keys.len()))?;
    let facts = if has_facts {
        "recorded: drills can compare content and queries"
    } else {
        "none"
    };
    ui.data(&format!("Facts    {facts}"))?;
    if let Some(previous) = &manifest.previous {
        ui.data(&format!("Previous {}", previous.id))?;
    }
    if let Some(reason) = &manifest.reason {
        ui.data(&format!("Reason   {reason}"))?;
    }
    if let Some(hold) = &hold {
        ui.data(&format!("Hold     {}", hold.note(session.clock.now())))?;
    }
    if let Some(why) = &manifest.accepted {
        ui.data(&format!("Accepted {why}"))?;
    }
    if let Some(why) = &manifest.suspect {
        ui.data(&ui.paint(Tone::Bad, &format!("SUSPECT  {why}")))?;
    }
    let mut table = Table::new(&["source", "kind", "files", "size", "path", "notes"]).figures(&[2, 3]);
    for source in &manifest.sources {
        table.row([
            source.name.clone(),
            source.kind.clone(),
            source.files.to_string(),
            Size(source.bytes).to_string(),
            source.root.clone(),
            source
                .suspect
                .clone()
                .map(|why| format!("suspect: {why}"))
                .unwrap_or_default(),
        ]);
    }
    table.print(ui)?;
    Ok(Code::Done)
}

/// Says when what was listed may be an older state of the repository.
async fn warn_of_age(session: &Session, repository: &Repository) {
    if let Some(what) = job::rolled_back(repository).await {
        session.ui.warn(&what);
    }
}
