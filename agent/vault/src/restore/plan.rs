//! What a restore will do, worked out without writing anything: what `--dry-run` prints.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::resume::{Partial, around};
use super::selection::{Match, Matcher, Place, Selection};
use super::sites::origin;
use super::target::{existing_ancestor, method, space, staging_path, targets};
use super::{Error, Options};
use crate::tree::{Entry, Record, TreeStream};
use crate::{Manifest, Repository, SnapshotId, SourceRecord};

/// Most examples of entries that a plan or report lists.
pub const MAX_EXAMPLES: usize = 100;
/// What the file system takes beside the content of a file.
const FILE_OVERHEAD: u64 = 4096;

/// What a restore will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Names this restore in paths that it makes.
    pub id: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What of it.
    pub selection: Selection,
    /// How.
    pub options: Options,
    /// What is written where.
    pub placements: Vec<Placement>,
    /// Files to be restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Metadata that this user can not put back, with an example each.
    pub warnings: Vec<Warning>,
}

/// One directory to be swapped in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Where it goes.
    pub target: PathBuf,
    /// Where it is written first.
    pub staging: PathBuf,
    /// How it comes from there to here.
    pub method: Method,
    /// The source.
    pub source: String,
    /// Files to be restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What an interrupted run of the same restore has left in the staging directory: this one goes on from it.
    #[serde(default)]
    pub resumes: Option<Partial>,
    /// Staging directories that other restores to this target have left: they are removed first.
    #[serde(default)]
    pub discards: Vec<PathBuf>,
    /// Bytes needed on the file system, beside those that are resumed.
    pub space_needed: u64,
    /// Bytes free there.
    pub space_available: u64,
    /// The topmost entries that are restored; those that exist at the target are what is exchanged entry by entry.
    /// The first [`MAX_EXAMPLES`] only.
    pub top: Vec<String>,
    /// How many there are.
    pub top_count: u64,
}

/// How a directory is swapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Nothing is there: one rename. An empty directory is replaced by the same.
    Rename,
    /// One exchange of two directories; the old one stays beside it.
    Exchange,
    /// The topmost entries, one after the other, with a journal.
    Entries,
}

/// Metadata that can not be put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Which.
    pub what: String,
    /// How many entries have it.
    pub entries: u64,
    /// One of them.
    pub example: String,
}

/// Works out what a restore will do. Writes nothing.
///
/// # Errors
///
/// [`Error`]: every reason to refuse that can be known beforehand.
pub async fn plan(
    repository: &Repository,
    snapshot: SnapshotId,
    manifest: &Manifest,
    selection: Selection,
    place: &Place,
    options: Options,
) -> Result<Plan, Error> {
    let sources = chosen(manifest, &selection)?;
    let targets = targets(&sources, place)?;
    let mut matcher = selection.compile()?;
    let id = Uuid::now_v7().simple().to_string();
    let privileged = rustix::process::geteuid().is_root();
    let mut warnings = Warnings {
        privileged,
        user: rustix::process::geteuid().as_raw(),
        list: Vec::new(),
    };
    let mut plan = Plan {
        id,
        snapshot,
        selection,
        options,
        placements: Vec::new(),
        files: 0,
        bytes: 0,
        warnings: Vec::new(),
    };
    for (record, target) in sources.iter().zip(targets) {
        matcher.rewind();
        let extent = measure(repository, record, &mut matcher, &mut warnings).await?;
        if extent.top_count > 0 {
            let method = method(&target, &matcher, plan.options.existing)?;
            plan.place(repository, record, target, method, extent).await?;
        }
    }
    let unmet: Vec<String> = matcher
        .unmet()
        .filter_map(|place| Some(plan.selection.paths.get(place)?.to_string()))
        .collect();
    if !unmet.is_empty() && !plan.placements.is_empty() {
        return Err(Error::NothingFits {
            patterns: unmet,
            sources: sources.iter().map(|source| source.name.clone()).collect(),
        });
    }
    if plan.placements.is_empty() {
        return Err(Error::NothingSelected {
            sources: sources.iter().map(|source| source.name.clone()).collect(),
        });
    }
    plan.warnings = warnings.list;
    Ok(plan)
}

impl Plan {
    /// Whether there is room; also looked at again before anything is written.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] with the figures.
    pub fn check_space(&self) -> Result<(), Error> {
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for placement in &self.placements {
            let directory = existing_ancestor(&placement.staging);
            let (device, available) = space(&directory)?;
            let before = taken
                .iter()
                .filter(|(other, _)| *other == device)
                .map(|(_, bytes)| bytes)
                .sum::<u64>();
            let needed = before + placement.space_needed;
            if needed > available {
                return Err(Error::NoSpace {
                    directory,
                    needed,
                    available,
                });
            }
            taken.push((device, placement.space_needed));
        }
        Ok(())
    }

    /// Adds a source, with what an interrupted run has left of it.
    async fn place(
        &mut self,
        repository: &Repository,
        record: &SourceRecord,
        target: PathBuf,
        method: Method,
        extent: Extent,
    ) -> Result<(), Error> {
        let fresh = staging_path(&target, &self.id, method);
        let origin = origin(self, repository.id(), &record.name);
        let looked = {
            let (target, staging) = (target.clone(), fresh.clone());
            tokio::task::spawn_blocking(move || around(&target, &staging, &origin)).await
        };
        let around =
            looked.map_err(|error| Error::Internal(format!("a look around panicked: {error}")))??;
        let (staging, resumes) = match around.resumes {
            Some((staging, partial)) => (staging, Some(partial)),
            None => (fresh, None),
        };
        let (_, space_available) = space(&existing_ancestor(&staging))?;
        let there = resumes.map_or(0, |partial| partial.bytes);
        self.files += extent.files;
        self.bytes += extent.bytes;
        self.placements.push(Placement {
            method,
            source: record.name.clone(),
            files: extent.files,
            bytes: extent.bytes,
            resumes,
            discards: around.discards,
            space_needed: (extent.bytes + extent.entries * FILE_OVERHEAD).saturating_sub(there),
            space_available,
            top: extent.top,
            top_count: extent.top_count,
            target,
            staging,
        });
        Ok(())
    }
}

fn chosen<'a>(manifest: &'a Manifest, selection: &Selection) -> Result<Vec<&'a SourceRecord>, Error> {
    if selection.sources.is_empty() {
        return Ok(manifest.sources.iter().collect());
    }
    let find = |name: &String| {
        manifest.source(name).ok_or_else(|| Error::NoSource {
            name: name.clone(),
            sources: manifest
                .sources
                .iter()
                .map(|source| source.name.clone())
                .collect(),
        })
    };
    selection.sources.iter().map(find).collect()
}

/// What of one source is selected.
#[derive(Default)]
struct Extent {
    files: u64,
    bytes: u64,
    entries: u64,
    top: Vec<String>,
    top_count: u64,
}

async fn measure(
    repository: &Repository,
    record: &SourceRecord,
    matcher: &mut Matcher,
    warnings: &mut Warnings,
) -> Result<Extent, Error> {
    let mut extent = Extent::default();
    let mut stream = TreeStream::open(repository, &record.tree);
    let mut last_was_first = true;
    loop {
        let next = stream.next().await.map_err(|source| Error::List {
            origin: record.name.clone(),
            source: Box::new(source),
        })?;
        let entry = match next {
            Some(Record::Entry(entry)) => entry,
            Some(Record::Chunks(_) | Record::End(_)) => continue,
            None => return Ok(extent),
        };
        let judged = matcher.judge(&entry.path);
        if judged == Match::Out {
            continue;
        }
        let top = if matcher.is_everything() {
            entry.path.parent().is_some_and(|parent| parent.is_root())
                || (entry.path.is_root() && last_was_first)
        } else {
            judged == Match::Top
        };
        last_was_first = false;
        extent.count(&entry, top);
        warnings.judge(&record.name, &entry);
    }
}

impl Extent {
    fn count(&mut self, entry: &Entry, top: bool) {
        self.entries += 1;
        if let Some(len) = entry.file_len() {
            self.files += 1;
            self.bytes += len;
        }
        if top {
            self.top_count += 1;
            if self.top.len() < MAX_EXAMPLES && !entry.path.is_root() {
                self.top.push(entry.path.to_string());
            }
        }
    }
}

/// Gathers what this user can not put back.
struct Warnings {
    privileged: bool,
    user: u32,
    list: Vec<Warning>,
}

impl Warnings {
    fn judge(&mut self, source: &str, entry: &Entry) {
        if self.privileged {
            return;
        }
        if entry.metadata.uid != self.user {
            self.note(format!("owner {}", entry.metadata.uid), source, entry);
        }
        for xattr in &entry.metadata.xattrs {
            if xattr.name.starts_with(b"trusted.") || xattr.name.starts_with(b"security.") {
                self.note(String::from_utf8_lossy(&xattr.name).into_owned(), source, entry);
            }
        }
    }

    fn note(&mut self, what: String, source: &str, entry: &Entry) {
        if let Some(warning) = self.list.iter_mut().find(|warning| warning.what == what) {
            warning.entries += 1;
        } else if self.list.len() < MAX_EXAMPLES {
            self.list.push(Warning {
                what,
                entries: 1,
                example: format!("{source}: {}", entry.path),
            });
        }
    }
}
