//! What this host protects, for the coordinator: its sources, what lies beside them unprotected, the snapshots in its
//! repository, how much that holds.
//!
//! Looked at when the daemon starts, after each snapshot, hold and drill, and now and then. Manifests never change: each is
//! read once. What can not be looked at is said in the inventory itself.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dr_proto::model::{Inventory, SnapshotInfo, SourceInfo, Verification};
use dr_vault::check::{Recent, Share};
use dr_vault::{Manifest, Repository, SnapshotId};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{self, ResolvedSource, Source, SourceKind};
use crate::error::{Doing, Failure, in_one_line};
use crate::hold;
use crate::session::Session;

use super::vitals::Vitals;

/// How often it is looked at without a reason.
const EVERY: Duration = Duration::from_secs(900);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Listing every object of a large repository costs requests: once in this time.
const STORED_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Looks at what this host protects.
#[derive(Debug)]
pub struct Surveyor {
    session: Session,
    vitals: Vitals,
    publish: watch::Sender<Option<Inventory>>,
    nudge: Arc<Notify>,
    /// What lies on the host and is not configured.
    found: watch::Receiver<Vec<SourceInfo>>,
    known: HashMap<SnapshotId, SnapshotInfo>,
    stored: Option<(Timestamp, u64)>,
    recent: Recent,
}

impl Surveyor {
    /// A surveyor that has not looked yet, what it publishes, and what makes it look at once.
    pub fn new(
        session: Session,
        vitals: Vitals,
        found: watch::Receiver<Vec<SourceInfo>>,
    ) -> (Self, watch::Receiver<Option<Inventory>>, Arc<Notify>) {
        let (publish, inventory) = watch::channel(None);
        let nudge = Arc::new(Notify::new());
        let surveyor = Self {
            session,
            vitals,
            publish,
            nudge: Arc::clone(&nudge),
            found,
            known: HashMap::new(),
            stored: None,
            recent: Recent::new(),
        };
        (surveyor, inventory, nudge)
    }

    /// Looks again and again, until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let nudge = Arc::clone(&self.nudge);
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
                () = nudge.notified() => {}
                Ok(()) = self.found.changed() => {}
            }
            let Some(inventory) = cancel.run_until_cancelled(self.look()).await else {
                return;
            };
            self.publish.send_if_modified(|published| {
                let changed = published.as_ref() != Some(&inventory);
                *published = Some(inventory);
                changed
            });
        }
    }

    /// Looks once.
    pub async fn look(&mut self) -> Inventory {
        let entries = self.session.config.sources.clone();
        let sources = match tokio::task::spawn_blocking(move || sources(&entries)).await {
            Ok(sources) => sources,
            Err(error) => {
                tracing::error!(%error, "the sources of this host could not be looked at");
                Vec::new()
            }
        };
        let found = self.found.borrow_and_update().clone();
        let sources = sources.into_iter().map(|source| self.told(source));
        let mut inventory = Inventory {
            sources: sources.chain(found).collect(),
            ..Inventory::default()
        };
        let listed = match tokio::time::timeout(LIMIT, self.repository()).await {
            Ok(listed) => listed.map_err(|failure| failure.to_string()),
            Err(_) => Err(format!(
                "the repository could not be listed within {} s",
                LIMIT.as_secs()
            )),
        };
        match listed {
            Ok((snapshots, stored, share)) => {
                inventory.snapshots = snapshots;
                inventory.stored_bytes = stored;
                inventory.verification = Some(Verification {
                    packs: share.packs,
                    verified: share.verified,
                });
            }
            Err(problem) => {
                tracing::warn!(problem, "snapshots can not be listed");
                inventory.snapshots_problem = Some(problem);
                inventory.stored_bytes = self.stored.map(|(_, bytes)| bytes).unwrap_or_default();
            }
        }
        inventory
    }

    /// What work found damaged is a problem of a source that looks well from outside.
    fn told(&self, source: SourceInfo) -> SourceInfo {
        if source.problem.is_some() {
            return source;
        }
        let problem = self.vitals.damage(&source.name);
        SourceInfo {
            damaged: problem.is_some(),
            problem,
            ..source
        }
    }

    async fn repository(&mut self) -> Result<(Vec<SnapshotInfo>, u64, Share), Failure> {
        let repository = self.session.repository().await?;
        let snapshots = self.snapshots(&repository).await?;
        let now = self.session.clock.now();
        let stored = match self.stored {
            Some((at, bytes)) if now.duration_since(at) < STORED_EVERY => bytes,
            _ => {
                let bytes = stored_bytes(&repository).await?;
                self.stored = Some((now, bytes));
                bytes
            }
        };
        let share = self.recent.share(&repository).await;
        let share = share.doing(|| "read the ledger of what was verified".to_owned())?;
        Ok((snapshots, stored, share))
    }

    /// The newest snapshots, newest first.
    async fn snapshots(&mut self, repository: &Repository) -> Result<Vec<SnapshotInfo>, Failure> {
        let mut all = repository
            .snapshots()
            .await
            .doing(|| "list snapshots".to_owned())?;
        all.sort_by_key(|info| std::cmp::Reverse(info.time));
        all.truncate(Inventory::MOST_SNAPSHOTS);
        let listed: HashSet<SnapshotId> = all.iter().map(|info| info.id).collect();
        self.known.retain(|id, _| listed.contains(id));
        let mut held = hold::by_snapshot(repository)
            .await
            .doing(|| "list holds".to_owned())?;
        let mut snapshots = Vec::with_capacity(all.len());
        for info in all {
            if let Some(known) = self.known.get(&info.id) {
                snapshots.push(SnapshotInfo {
                    hold: held.remove(&info.id),
                    ..known.clone()
                });
                continue;
            }
            let manifest = repository
                .manifest_of(&info)
                .await
                .doing(|| format!("read snapshot {}", info.id))?;
            let entry = listed_entry(info.id, manifest);
            self.known.insert(info.id, entry.clone());
            snapshots.push(SnapshotInfo {
                hold: held.remove(&info.id),
                ..entry
            });
        }
        Ok(snapshots)
    }
}

fn listed_entry(id: SnapshotId, manifest: Manifest) -> SnapshotInfo {
    SnapshotInfo {
        id: id.to_string(),
        cut: manifest.created,
        exact: manifest.window.is_some_and(|window| window.exact),
        suspect: manifest.suspect,
        reason: manifest.reason,
        bytes: manifest.sources.iter().map(|source| source.bytes).sum(),
        sources: manifest.sources.into_iter().map(|source| source.name).collect(),
        hold: None,
    }
}

async fn stored_bytes(repository: &Repository) -> Result<u64, Failure> {
    let mut listing = repository.storage().list("");
    let mut bytes = 0;
    while let Some(object) = listing.next().await {
        bytes += object.doing(|| "list the repository".to_owned())?.size;
    }
    Ok(bytes)
}

/// Every configured source; an entry whose glob can not be expanded stands for itself, with the reason.
fn sources(entries: &[Source]) -> Vec<SourceInfo> {
    let mut sources = Vec::new();
    for entry in entries {
        match config::expand_all(std::slice::from_ref(entry)) {
            Ok(found) => sources.extend(found.iter().map(source)),
            Err(error) => sources.push(SourceInfo {
                name: entry.name.clone(),
                kind: entry.kind.as_str().to_owned(),
                path: entry.path.clone(),
                problem: Some(in_one_line(&error)),
                damaged: false,
                configured: true,
            }),
        }
    }
    sources
}

fn source(source: &ResolvedSource) -> SourceInfo {
    let problem = readable(source.kind, &source.path).err();
    SourceInfo {
        name: source.name.clone(),
        kind: source.kind.as_str().to_owned(),
        path: source.path.display().to_string(),
        problem: problem.map(|error| error.to_string()),
        damaged: false,
        configured: true,
    }
}

fn readable(kind: SourceKind, path: &Path) -> std::io::Result<()> {
    match kind {
        SourceKind::Lancedb => std::fs::read_dir(path).map(|_| ()),
        SourceKind::AuditLog => std::fs::File::open(path).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing;

    #[tokio::test]
    async fn what_can_not_be_looked_at_is_said_in_the_inventory() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("audit.log"), b"").expect("write");
        let session = testing::session(
            dir.path(),
            &format!(
                "[repository]\nurl = \"file://{0}/missing\"\n\
                 [[source]]\nname = \"memory\"\nkind = \"lancedb\"\npath = \"{0}/db\"\n\
                 [[source]]\nname = \"many\"\nkind = \"lancedb\"\npath = \"{0}/none/*\"\n\
                 [[source]]\nname = \"audit\"\nkind = \"audit-log\"\npath = \"{0}/audit.log\"\n",
                dir.path().display()
            ),
        );
        let vitals = Vitals::default();
        vitals.found(&[("audit".to_owned(), Some(false))], "the chain is broken");
        let (_found, found) = watch::channel(vec![SourceInfo {
            name: "db".to_owned(),
            kind: "lancedb".to_owned(),
            path: "/srv/db".to_owned(),
            problem: None,
            damaged: false,
            configured: false,
        }]);
        let (mut surveyor, _, _) = Surveyor::new(session, vitals.clone(), found);
        let audit = |inventory: &Inventory| inventory.sources[2].problem.clone();
        assert_eq!(
            audit(&surveyor.look().await).as_deref(),
            Some("the chain is broken")
        );
        let damaged = |inventory: &Inventory| inventory.sources.iter().filter(|s| s.damaged).count();
        assert_eq!(
            damaged(&surveyor.look().await),
            1,
            "one that can not be read is not damaged"
        );
        vitals.found(&[("audit".to_owned(), Some(true))], "");
        let inventory = surveyor.look().await;
        let problems: Vec<(&str, bool)> = inventory
            .sources
            .iter()
            .map(|source| (source.name.as_str(), source.problem.is_some()))
            .collect();
        assert_eq!(
            problems,
            [("memory", true), ("many", true), ("audit", false), ("db", false)]
        );
        assert!(!inventory.sources[3].configured);
        assert!(inventory.snapshots_problem.is_some());
        assert!(inventory.snapshots.is_empty());
    }
}
