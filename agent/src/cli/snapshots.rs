//! `dr-agent snapshots list|show`.

use clap::{Args, Subcommand};
use dr_vault::repository::Hold;
use dr_vault::{Freshness, Manifest, Repository, SnapshotId, SnapshotInfo};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::Size;
use crate::error::{Doing, Outcome};
use crate::exit::Code;
use crate::session::Session;
use crate::ui::{Table, Tone};

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
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let repository = session.repository().await?;
    let done = match arguments.command {
        Command::List { last, source } => {
            session
                .until_stopped(list(session, &repository, last, source.as_deref()))
                .await
        }
        Command::Show { snapshot } => session.until_stopped(show(session, &repository, &snapshot)).await,
    };
    warn_of_age(session, &repository).await;
    done
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
    held: bool,
}

async fn list(session: &Session, repository: &Repository, last: usize, source: Option<&str>) -> Outcome {
    let mut all = repository
        .snapshots()
        .await
        .doing(|| "list snapshots".to_owned())?;
    all.sort_by_key(|info| info.time);
    let total = all.len();
    let newest: Vec<SnapshotInfo> = all.split_off(total.saturating_sub(last));
    let held = repository.holds().await.doing(|| "list holds".to_owned())?;
    let now = session.clock.now();
    let mut listed = Vec::new();
    for info in &newest {
        let manifest = repository
            .manifest(&info.id)
            .await
            .doing(|| format!("read snapshot {}", info.id))?;
        if source.is_none_or(|name| manifest.source(name).is_some()) {
            listed.push(listed_entry(info.id, manifest, &held, now));
        }
    }
    if session.ui.is_json() {
        session.ui.json(&listed)?;
    } else if listed.is_empty() {
        session.ui.say("No snapshots yet: `dr-agent snapshot` takes one");
    } else {
        print(session, &listed)?;
        if total > newest.len() {
            session.ui.say(&format!(
                "{} of {total} snapshots; --last shows more",
                newest.len()
            ));
        }
    }
    Ok(Code::Done)
}

fn listed_entry(
    id: SnapshotId,
    manifest: Manifest,
    holds: &[(SnapshotId, Hold, dr_vault::storage::Key)],
    now: Timestamp,
) -> Listed {
    let held = holds
        .iter()
        .any(|(held, hold, _)| *held == id && hold.until.is_none_or(|until| until > now));
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
        held,
    }
}

fn print(session: &Session, listed: &[Listed]) -> std::io::Result<()> {
    let ui = &session.ui;
    let mut table = Table::new(&["snapshot", "cut", "sources", "files", "size", "notes"]);
    for entry in listed {
        let mut notes = Vec::new();
        if let Some(why) = &entry.suspect {
            notes.push(ui.paint(Tone::Bad, &format!("suspect: {why}")));
        }
        if entry.exact == Some(false) {
            notes.push("window".to_owned());
        }
        if entry.held {
            notes.push("held".to_owned());
        }
        notes.extend(entry.reason.clone());
        table.row([
            entry.id.chars().take(12).collect(),
            format!("{:.0}", entry.cut),
            entry.sources.join(", "),
            entry.files.to_string(),
            Size(entry.bytes).to_string(),
            notes.join("; "),
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
    if session.ui.is_json() {
        session.ui.json(&Shown {
            id: info.id.to_string(),
            manifest: &manifest,
            has_facts,
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
    if let Some(why) = &manifest.suspect {
        ui.data(&ui.paint(Tone::Bad, &format!("SUSPECT  {why}")))?;
    }
    let mut table = Table::new(&["source", "kind", "files", "size", "path", "notes"]);
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
    match repository.freshness().await {
        Ok(Freshness::RolledBack { expected, .. }) => session.ui.warn(&format!(
            "this host remembers snapshot {expected}, which is not in the repository: an older state was put back"
        )),
        Ok(Freshness::Fresh | Freshness::Unknown) => {}
        Err(error) => tracing::debug!(%error, "freshness cannot be told"),
    }
}
