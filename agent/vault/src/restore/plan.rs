//! What a restore will do, worked out without writing anything: what `--dry-run` prints.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::selection::{Existing, Match, Matcher, Place, Selection};
use super::{Error, Options};
use crate::tree::{Entry, Record, TreePath, TreeStream};
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
    /// Bytes needed on the file system.
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
    let mut placements = Vec::new();
    for (record, target) in sources.iter().zip(targets) {
        matcher.rewind();
        let extent = measure(repository, record, &mut matcher, &mut warnings).await?;
        if extent.top_count > 0 {
            placements.push(placement(
                record,
                target,
                &id,
                extent,
                &matcher,
                options.existing,
            )?);
        }
    }
    if placements.is_empty() {
        return Err(Error::NothingSelected {
            sources: sources.iter().map(|source| source.name.clone()).collect(),
        });
    }
    let files = placements.iter().map(|placement| placement.files).sum();
    let bytes = placements.iter().map(|placement| placement.bytes).sum();
    Ok(Plan {
        id,
        snapshot,
        selection,
        options,
        placements,
        files,
        bytes,
        warnings: warnings.list,
    })
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

fn targets(sources: &[&SourceRecord], place: &Place) -> Result<Vec<PathBuf>, Error> {
    let targets = match place {
        Place::Original => sources.iter().map(|source| PathBuf::from(&source.root)).collect(),
        Place::Directory(target) if sources.len() == 1 => vec![target.clone()],
        Place::Directory(target) => {
            let sources = sources.iter().map(|source| source.name.clone()).collect();
            return Err(Error::SeveralSources {
                sources,
                target: target.clone(),
            });
        }
        Place::BySource(parent) => {
            let below = |source: &&SourceRecord| match TreePath::new(&source.name) {
                Ok(name) => Ok(parent.join(name.as_path())),
                Err(error) => Err(Error::SourceName {
                    name: source.name.clone(),
                    source: error,
                }),
            };
            sources.iter().map(below).collect::<Result<Vec<_>, _>>()?
        }
    };
    let targets = targets
        .into_iter()
        .map(normal_target)
        .collect::<Result<Vec<_>, _>>()?;
    for (at, first) in targets.iter().enumerate() {
        for second in targets.iter().skip(at + 1) {
            if first.starts_with(second) || second.starts_with(first) {
                return Err(Error::Overlap {
                    first: first.clone(),
                    second: second.clone(),
                });
            }
        }
    }
    Ok(targets)
}

/// The target with its parent resolved as far as it exists, so that a link on the way does not split staging and
/// target; the last name stays as it is.
fn normal_target(target: PathBuf) -> Result<PathBuf, Error> {
    let refuse = |reason: &str| Error::Target {
        target: target.clone(),
        reason: reason.to_owned(),
    };
    if !target.is_absolute() {
        return Err(refuse("give an absolute path"));
    }
    if target
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        return Err(refuse("it has a `..` in it; give the path without"));
    }
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(refuse("it is the root of the file system"));
    };
    let ancestor = existing_ancestor(parent);
    let rest = parent.strip_prefix(&ancestor).unwrap_or(Path::new(""));
    let resolved = ancestor
        .canonicalize()
        .map_err(Error::local("resolve", &ancestor))?;
    if !resolved.is_dir() {
        return Err(refuse(&format!("{} is no directory", ancestor.display())));
    }
    let parent = if rest.as_os_str().is_empty() {
        resolved
    } else {
        resolved.join(rest)
    };
    Ok(parent.join(name))
}

pub(super) fn existing_ancestor(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

/// Device and free bytes of the file system that holds `directory`.
fn space(directory: &Path) -> Result<(u64, u64), Error> {
    let stat = rustix::fs::statvfs(directory)
        .map_err(|errno| Error::local("ask for the space of", directory)(errno.into()))?;
    let device = fs::metadata(directory)
        .map_err(Error::local("read", directory))?
        .dev();
    Ok((device, stat.f_bavail.saturating_mul(stat.f_frsize)))
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

fn placement(
    record: &SourceRecord,
    target: PathBuf,
    id: &str,
    extent: Extent,
    matcher: &Matcher,
    existing: Existing,
) -> Result<Placement, Error> {
    let method = method(&target, matcher, existing)?;
    let staging = staging_path(&target, id, method);
    let (_, space_available) = space(&existing_ancestor(&staging))?;
    Ok(Placement {
        method,
        source: record.name.clone(),
        files: extent.files,
        bytes: extent.bytes,
        space_needed: extent.bytes + extent.entries * FILE_OVERHEAD,
        space_available,
        top: extent.top,
        top_count: extent.top_count,
        target,
        staging,
    })
}

/// `<target>.restoring-<id>` beside the target; inside of it where the target is a mount point.
fn staging_path(target: &Path, id: &str, method: Method) -> PathBuf {
    if method == Method::Entries && is_mount_point(target) {
        return target.join(format!(".restoring-{id}"));
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".restoring-{id}"));
    target.with_file_name(name)
}

fn method(target: &Path, matcher: &Matcher, existing: Existing) -> Result<Method, Error> {
    let swap = |reason: &str| Error::Swap {
        target: target.to_owned(),
        reason: reason.to_owned(),
    };
    let Ok(found) = fs::symlink_metadata(target) else {
        return Ok(Method::Rename);
    };
    if found.is_symlink() {
        return Err(swap("it is a symbolic link; give the path that it points to"));
    }
    if !found.is_dir() {
        return Err(swap("it is no directory"));
    }
    let empty = fs::read_dir(target)
        .map_err(Error::local("list", target))?
        .next()
        .is_none();
    let mounted = is_mount_point(target);
    match existing {
        _ if empty && !mounted => Ok(Method::Rename),
        Existing::Refuse if empty => Ok(Method::Entries),
        Existing::Refuse => Err(Error::TargetExists {
            target: target.to_owned(),
        }),
        Existing::Exchange if mounted => Err(swap(
            "it is a mount point, which can not be exchanged; restore entry by entry, with the application stopped",
        )),
        Existing::Exchange if !matcher.is_everything() => Err(swap(
            "only a part of the source is selected, and exchanging the whole directory would lose the rest; restore entry by entry",
        )),
        Existing::Exchange => Ok(Method::Exchange),
        Existing::Entries => Ok(Method::Entries),
    }
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    match (device(path), path.parent().and_then(device)) {
        (Some(own), Some(parent)) => own != parent,
        _ => false,
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
