//! Databases and audit logs that lie on this host and that no source of its own file covers.
//!
//! ## Overview
//! A database that somebody added last week is in no snapshot, and nobody notices before it is lost. So the daemon looks
//! around the configured sources, and in folders that its file names, by the same discovery that `dr-agent discover`
//! uses: once at its start and then once a day, read-only, bounded in depth, entries and time. What it finds is told to
//! the coordinator beside the sources, marked as not configured. Nothing is ever protected by itself: a copy that drills
//! restored, or the folder of some test, would then fill the repository.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dr_proto::model::SourceInfo;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::discover::{self, Bounds, Found};
use crate::session::Session;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How far a look goes.
const BOUNDS: Bounds = Bounds {
    depth: 6,
    entries: 200_000,
    files: 2_000,
};
/// The most that is told.
const MOST: usize = 200;

/// Looks for what no source covers.
#[derive(Debug)]
pub struct Prospector {
    session: Session,
    publish: watch::Sender<Vec<SourceInfo>>,
}

impl Prospector {
    /// A prospector that has not looked yet, and what it finds.
    pub fn new(session: Session) -> (Self, watch::Receiver<Vec<SourceInfo>>) {
        let (publish, found) = watch::channel(Vec::new());
        (Self { session, publish }, found)
    }

    /// Looks again and again, until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            let Some(found) = cancel.run_until_cancelled(self.look(&cancel)).await else {
                return;
            };
            self.publish.send_if_modified(|published| {
                let changed = *published != found;
                *published = found;
                changed
            });
        }
    }

    /// Looks once. What an earlier look found and this one did not reach still counts.
    async fn look(&self, cancel: &CancellationToken) -> Vec<SourceInfo> {
        let config = self.session.config.clone();
        let stop = cancel.child_token();
        let looking = {
            let stop = stop.clone();
            tokio::task::spawn_blocking(move || prospect(&config, BOUNDS, &stop))
        };
        let timer = async {
            tokio::time::sleep(LIMIT).await;
            stop.cancel();
        };
        tokio::pin!(looking, timer);
        let looked = tokio::select! {
            looked = &mut looking => looked,
            () = &mut timer => looking.await,
        };
        let before = self.publish.borrow().clone();
        match looked {
            Ok(Prospect {
                sources,
                cut_short: false,
            }) => sources,
            Ok(Prospect { sources, .. }) => {
                tracing::info!("the look for sources that are not configured was cut short by its bounds");
                merge(before, sources)
            }
            Err(error) => {
                tracing::error!(%error, "sources that are not configured could not be looked for");
                before
            }
        }
    }
}

/// What a look found.
#[derive(Debug, Default)]
struct Prospect {
    sources: Vec<SourceInfo>,
    cut_short: bool,
}

/// Looks in every root by itself: one that can not be read does not hide what lies in the others. Blocking.
fn prospect(config: &Config, bounds: Bounds, stop: &CancellationToken) -> Prospect {
    let mut all = Prospect::default();
    let ours = Ours::of(config);
    for root in roots(config) {
        match discover::survey(std::slice::from_ref(&root), bounds, stop) {
            Ok(Found {
                sources, cut_short, ..
            }) => {
                all.cut_short |= cut_short;
                let unknown = sources.into_iter().filter(|found| !ours.covers(&found.path));
                all.sources.extend(unknown.map(|found| SourceInfo {
                    name: found.name,
                    kind: found.kind.as_str().to_owned(),
                    path: found.path.display().to_string(),
                    problem: None,
                    damaged: false,
                    configured: false,
                }));
            }
            Err(error) => {
                tracing::warn!(root = %root.display(), %error, "not searched for sources");
            }
        }
    }
    all.sources.sort_by(|left, right| left.path.cmp(&right.path));
    all.sources.dedup_by(|left, right| left.path == right.path);
    if all.sources.len() > MOST {
        tracing::warn!(
            found = all.sources.len(),
            "more sources are not configured than are told: the first {MOST} are"
        );
        all.sources.truncate(MOST);
    }
    all
}

/// What was found before and is still there, with what was found now.
fn merge(before: Vec<SourceInfo>, now: Vec<SourceInfo>) -> Vec<SourceInfo> {
    let missed = before
        .into_iter()
        .filter(|old| now.iter().all(|new| new.path != old.path) && Path::new(&old.path).exists());
    let mut all: Vec<SourceInfo> = missed.chain(now.iter().cloned()).collect();
    all.sort_by(|left, right| left.path.cmp(&right.path));
    all.truncate(MOST);
    all
}

/// Where to look: around the sources, and where the host's file says. Never the whole file system unless that says so;
/// a root below another is looked at with it.
fn roots(config: &Config) -> Vec<PathBuf> {
    let around = config.sources.iter().map(config::Source::neighbourhood);
    let mut roots: Vec<PathBuf> = around
        .filter(|folder| folder.parent().is_some())
        .chain(config.agent.discover.iter().cloned())
        .filter_map(|folder| match folder.canonicalize() {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                tracing::warn!(root = %folder.display(), %error, "not searched for sources");
                None
            }
        })
        .collect();
    roots.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for root in roots {
        if !kept.iter().any(|above| root.starts_with(above)) {
            kept.push(root);
        }
    }
    kept
}

/// Paths that need no telling: sources, and what the agent itself writes.
struct Ours {
    sources: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Ours {
    fn of(config: &Config) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        // A source that can not be expanded is told as a problem of its own.
        let expanded = config
            .sources
            .iter()
            .filter_map(|entry| config::expand_all(std::slice::from_ref(entry)).ok())
            .flatten();
        let repository = config
            .repository
            .as_ref()
            .and_then(|repository| repository.url.strip_prefix("file://"))
            .map(PathBuf::from);
        let folders = [config.agent.state_dir.clone(), config.agent.scratch_dir()]
            .into_iter()
            .chain(config.allow.restore_into.iter().cloned())
            .chain(repository);
        Self {
            sources: expanded.map(|source| real(&source.path)).collect(),
            folders: folders.map(|folder| real(&folder)).collect(),
        }
    }

    fn covers(&self, path: &Path) -> bool {
        let within = |folder: &PathBuf| path.starts_with(folder);
        // A source may also be a part of what was found, such as one namespace of a database.
        self.sources
            .iter()
            .any(|source| path.starts_with(source) || source.starts_with(path))
            || self.folders.iter().any(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing;

    fn database(path: &Path) {
        let versions = path.join("notes.lance/_versions");
        std::fs::create_dir_all(&versions).expect("create");
        std::fs::write(versions.join("1.manifest"), "").expect("write");
    }

    fn log(path: &Path) {
        let line = |second| format!("{{\"time\":\"2026-01-01T00:00:0{second}Z\",\"n\":{second}}}\n");
        let text: String = (0..5).map(line).collect();
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("create");
        std::fs::write(path, text).expect("write");
    }

    fn paths(found: &[SourceInfo], dir: &Path) -> Vec<String> {
        let short = |source: &SourceInfo| {
            let path = Path::new(&source.path)
                .strip_prefix(dir)
                .expect("below the folder");
            assert!(!source.configured);
            path.display().to_string()
        };
        found.iter().map(short).collect()
    }

    /// A host that protects two tenants' databases and one log, with more of both beside them.
    fn host(dir: &Path) -> Session {
        for tenant in ["acme", "zeta"] {
            database(&dir.join("srv").join(tenant).join("db"));
        }
        database(&dir.join("srv/new/other-db"));
        log(&dir.join("logs/audit.log"));
        log(&dir.join("logs/billing/audit.log"));
        database(&dir.join("state/scratch/drill-1/memory"));
        database(&dir.join("srv/restore/memory"));
        database(&dir.join("elsewhere/db"));
        testing::session(
            dir,
            &format!(
                "[[source]]\nname = \"memory\"\nkind = \"lancedb\"\npath = \"{0}/srv/*/db\"\n\
                 [[source]]\nname = \"audit\"\nkind = \"audit-log\"\npath = \"{0}/logs/audit.log\"\n\
                 [allow]\nrestore_into = [\"{0}/srv/restore\"]\n",
                dir.display()
            ),
        )
    }

    #[test]
    fn what_lies_beside_the_sources_and_is_none_is_found() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().canonicalize().expect("a real path");
        let mut session = host(&root);
        let stop = CancellationToken::new();
        let found = prospect(&session.config, BOUNDS, &stop);
        assert_eq!(
            paths(&found.sources, &root),
            ["logs/billing/audit.log", "srv/new/other-db"],
            "not what is configured, what the agent wrote, or what lies elsewhere"
        );
        assert!(!found.cut_short);
        session.config.agent.discover = vec![root.join("elsewhere"), root.join("nowhere")];
        let found = prospect(&session.config, BOUNDS, &stop);
        assert!(paths(&found.sources, &root).contains(&"elsewhere/db".to_owned()));
    }

    #[test]
    fn a_look_that_reaches_its_bounds_says_so_and_forgets_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let root = dir.path().canonicalize().expect("a real path");
        let session = host(&root);
        let stop = CancellationToken::new();
        let before = prospect(&session.config, BOUNDS, &stop).sources;
        let few = Bounds { entries: 1, ..BOUNDS };
        let cut = prospect(&session.config, few, &stop);
        assert!(cut.cut_short);
        std::fs::remove_dir_all(root.join("srv/new")).expect("remove");
        let still = merge(before, cut.sources);
        assert_eq!(
            paths(&still, &root),
            ["logs/billing/audit.log"],
            "what is gone is gone"
        );
        stop.cancel();
        assert!(prospect(&session.config, BOUNDS, &stop).cut_short);
    }
}
