//! Where a restore goes: targets made plain, how each is swapped in, and where it is written until then.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::journal::is_journal;
use super::plan::Method;
use super::selection::{Existing, Matcher, Place};
use crate::SourceRecord;
use crate::tree::TreePath;

/// Between a target's name and the id of the restore that writes to it.
const RESTORING: &str = ".restoring-";
/// Between a target's name and the id of the restore that took its place.
const DISPLACED: &str = ".displaced-";
/// Digits of a restore's id.
const ID_LEN: usize = 32;

pub(super) fn targets(sources: &[&SourceRecord], place: &Place) -> Result<Vec<PathBuf>, Error> {
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
pub(super) fn space(directory: &Path) -> Result<(u64, u64), Error> {
    let stat = rustix::fs::statvfs(directory)
        .map_err(|errno| Error::local("ask for the space of", directory)(errno.into()))?;
    let device = fs::metadata(directory)
        .map_err(Error::local("read", directory))?
        .dev();
    Ok((device, stat.f_bavail.saturating_mul(stat.f_frsize)))
}

/// `<target>.restoring-<id>` beside the target; inside of it where the target is a mount point.
pub(super) fn staging_path(target: &Path, id: &str, method: Method) -> PathBuf {
    if method == Method::Entries && is_mount_point(target) {
        return target.join(format!("{RESTORING}{id}"));
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!("{RESTORING}{id}"));
    target.with_file_name(name)
}

/// Where what stood at the target goes when the restore that is written to `staging` takes its place.
pub(super) fn displaced_path(target: &Path, staging: &Path) -> PathBuf {
    let id = staging.file_name().and_then(staging_id).unwrap_or_default();
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(DISPLACED);
    name.push(OsStr::from_bytes(id));
    staging.with_file_name(name)
}

/// The id in the name of a staging directory; `None` if it is not the name of one.
pub(super) fn staging_id(name: &OsStr) -> Option<&[u8]> {
    let (front, id) = name
        .as_bytes()
        .split_at_checked(name.len().checked_sub(ID_LEN)?)?;
    (front.ends_with(RESTORING.as_bytes()) && id.iter().all(u8::is_ascii_hexdigit)).then_some(id)
}

/// How `target` is swapped in, or why it can not be.
pub(super) fn method(target: &Path, matcher: &Matcher, existing: Existing) -> Result<Method, Error> {
    let swap = |reason: &str| Error::Swap {
        target: target.to_owned(),
        reason: reason.to_owned(),
    };
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Method::Rename),
        found => found.map_err(Error::local("look at", target))?,
    };
    if found.is_symlink() {
        return Err(swap("it is a symbolic link; give the path that it points to"));
    }
    if !found.is_dir() {
        return Err(swap("it is no directory"));
    }
    let mounted = is_mount_point(target);
    let empty = is_empty(target, mounted).map_err(Error::local("list", target))?;
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

/// Whether nothing stands there. A mount point has inside what restores to it have left: that does not count.
fn is_empty(target: &Path, mounted: bool) -> std::io::Result<bool> {
    for entry in fs::read_dir(target)? {
        let name = entry?.file_name();
        if !(mounted && (is_journal(&name) || staging_id(&name).is_some())) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let asked = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    if let Ok(found) = asked
        && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    }
    // A kernel before 5.8: what another folder of the same file system is mounted on looks like any folder.
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    match (device(path), path.parent().and_then(device)) {
        (Some(own), Some(parent)) => own != parent,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Selection;
    use super::*;

    #[test]
    fn only_a_target_that_is_not_there_is_free() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let everything = Selection::whole().compile().unwrap();
        let method = |target| method(&dir.path().join(target), &everything, Existing::Refuse);
        assert!(matches!(method("db"), Ok(Method::Rename)));
        assert!(matches!(method("file"), Err(Error::Swap { .. })));
        let error = method("file/db").unwrap_err();
        assert!(matches!(error, Error::Local { .. }), "{error}");
    }
}
