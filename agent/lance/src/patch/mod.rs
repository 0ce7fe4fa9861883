//! Base paths of a restored copy.
//!
//! # Overview
//! Branches and clones name their base by an absolute path. A copy restored elsewhere would look for it at the
//! old place, or worse, find the live database there. [`base_paths`] rewrites the paths in one manifest and
//! [`tree`] in all manifests of a restored database.
//!
//! The rewrite works on the encoded bytes: decoding and encoding again would drop fields of formats newer than
//! ours. Everything before the Manifest message stays where it is, so that the offsets of the index and
//! transaction sections stay valid; only the message and its length change.
//!
//! # Crash consistency
//! [`tree`] writes each patched manifest beside the old one, flushes it and renames it into place. Interrupted,
//! it can be run again: a patched path no longer starts with the old root.

#[cfg(test)]
mod tests;
mod wire;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::collect::{local_path, normal};
use crate::dir::{Dir, is_missing};
use crate::discover;
pub use crate::error::Error;
use crate::layout::{ManifestName, VERSIONS};
use crate::manifest::{DecodeError, manifest_position};

const FOOTER: usize = 16;

/// Rewrites the base paths of a manifest that lie in `from` so that they lie in `to`. `None` if there are none.
///
/// # Errors
/// When the bytes are no manifest.
pub fn base_paths(manifest: &[u8], from: &Path, to: &Path) -> Result<Option<Vec<u8>>, DecodeError> {
    let at = usize::try_from(manifest_position(manifest)?).unwrap_or(usize::MAX);
    let end = manifest.len().saturating_sub(FOOTER);
    let outside = DecodeError::OutOfBounds {
        what: "the manifest",
        at: at as u64,
        len: 0,
    };
    let message = at
        .checked_add(4)
        .and_then(|start| manifest.get(start..end))
        .ok_or(outside)?;
    let Some(patched) = wire::patch_base_paths(message, &|path| moved(path, from, to))? else {
        return Ok(None);
    };
    let len = u32::try_from(patched.len()).map_err(|_| DecodeError::Invalid {
        what: "the patched manifest",
        reason: "it has more than 4 GiB".to_owned(),
    })?;
    let mut out = Vec::with_capacity(at + 4 + patched.len() + FOOTER);
    out.extend_from_slice(&manifest[..at]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&patched);
    out.extend_from_slice(&manifest[end..]);
    Ok(Some(out))
}

/// The new spelling of a base path, `None` if it does not lie in `from`.
fn moved(spelled: &str, from: &Path, to: &Path) -> Option<String> {
    let inside = inside(spelled, from)?;
    let target = if inside.as_os_str().is_empty() {
        normal(to)
    } else {
        normal(to).join(inside)
    };
    Some(target.to_str()?.to_owned())
}

/// Where a base path leads within a database that lay at `root`, relative to it; `None` if it leads elsewhere.
pub fn inside(spelled: &str, root: &Path) -> Option<PathBuf> {
    let (path, root) = (normal(&local_path(spelled)?), normal(root));
    match path.strip_prefix(&root) {
        Ok(inside) => Some(inside.to_owned()),
        Err(_) => inside_by_tail(&path, &root),
    }
}

/// A relative path was relative to its creator's working directory: `data/db/docs.lance` lies in `/srv/data/db`.
fn inside_by_tail(path: &Path, from: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = path.components().collect();
    let mut heads = (1..=parts.len()).rev().filter(|_| path.is_relative());
    let at = heads.find(|at| from.ends_with(parts[..*at].iter().collect::<PathBuf>()))?;
    Some(parts[at..].iter().collect())
}

/// What was done to the manifests of a restored database. Their paths are relative to it.
#[derive(Debug, Default)]
pub struct Patched {
    /// Those that were patched.
    pub manifests: Vec<String>,
    /// Those that cannot be decoded and are as they came.
    pub undecodable: Vec<(String, DecodeError)>,
}

/// Rewrites the base paths in all manifests of a restored database.
///
/// # Errors
/// When a manifest cannot be read or replaced.
pub fn tree(restored: &Path, from: &Path, to: &Path) -> Result<Patched, Error> {
    let root = Dir::open(restored).map_err(|source| Error::OpenDatabase {
        path: restored.to_owned(),
        source,
    })?;
    let mut patched = Patched::default();
    for table in discover::contents(&root, restored)?.tables {
        let folder = restored.join(&table).join(VERSIONS);
        let items = match root
            .sub(&format!("{table}/{VERSIONS}"))
            .and_then(|dir| dir.list())
        {
            Err(error) if is_missing(&error) => continue,
            items => items.map_err(|source| Error::List {
                path: folder.clone(),
                source,
            })?,
        };
        for item in items
            .iter()
            .filter(|item| ManifestName::parse(&item.name).is_some())
        {
            let path = folder.join(&item.name);
            let bytes = std::fs::read(&path).map_err(|source| Error::Read {
                path: path.clone(),
                source,
            })?;
            let shown = format!("{table}/{VERSIONS}/{}", item.name);
            let changed = match base_paths(&bytes, from, to) {
                Ok(changed) => changed,
                // It is as it was on the host: the other tables must come back nevertheless.
                Err(error) => {
                    patched.undecodable.push((shown, error));
                    continue;
                }
            };
            if let Some(changed) = changed {
                replace(&path, &changed).map_err(|source| Error::Patch {
                    path: path.clone(),
                    source,
                })?;
                patched.manifests.push(shown);
            }
        }
    }
    Ok(patched)
}

/// Replaces a file by rename, keeping owner, mode and times.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = std::fs::metadata(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The name is one that Lance and the next run ignore.
    let beside = path.with_file_name(format!(".tmp-patch-{name}"));
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.set_permissions(old.permissions())?;
    if let Err(error) = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid())) {
        tracing::debug!(%error, path = %path.display(), "the owner of a patched manifest is this user");
    }
    file.set_modified(old.modified()?)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
