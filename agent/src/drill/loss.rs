//! The loss that a restore drill rehearses: what stands at the target, in scratch, before it is restored.
//!
//! # Overview
//! Data is seldom lost to nothing: files are cut short, bits are flipped, or somebody has moved the folder away. The
//! restore must come back right from each. For all but deleted data the source is restored once more beforehand, out
//! of the clock's sight, and that copy is lost as asked: moved aside, its files cut at a place that chance decides, or
//! bits of them flipped. The live data is never touched, nor even opened.
//!
//! # Crash consistency
//! All of it lies in the drill's own scratch, and goes with it.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dr_proto::model::Loss;
use dr_vault::restore::{Existing, Options, Place};
use indicatif::BinaryBytes;
use tokio::time::Instant;

use super::Drill;
use crate::restore::Error;

/// One bit is flipped in every stretch of this length, and at least one in every file.
const STRETCH: u64 = 1 << 20;

/// What stands at the target of a source that was lost.
pub(super) struct Lost {
    /// Where a restore finds it.
    pub(super) existing: Existing,
    /// A copy that was moved away, and that nobody may touch.
    aside: Option<PathBuf>,
}

impl Drill<'_> {
    /// Makes the target of `name` look as after the loss that is rehearsed.
    pub(super) async fn lose(&mut self, name: &str, place: &Place, target: &Path) -> Result<Lost, Error> {
        let nothing = Lost {
            existing: Existing::Refuse,
            aside: None,
        };
        let Some(loss) = self.request.loss.filter(|loss| *loss != Loss::Deleted) else {
            return Ok(nothing);
        };
        let since = Instant::now();
        let made = self.restore_to(name, place, Options::default()).await?;
        let aside = self.request.scratch.join("moved").join(name);
        let (damaged, seed) = (target.to_owned(), seed(&self.id.to_string(), name));
        let moved = aside.clone();
        let lost = tokio::task::spawn_blocking(move || lose(loss, &damaged, &moved, seed)).await?;
        let files = lost.map_err(|source| Error::Loss {
            name: name.to_owned(),
            source,
        })?;
        self.prepared += since.elapsed();
        self.report.notes.push(format!(
            "{name}: {files} files were {loss} in scratch before it was restored; {} were fetched for that, which count \
             among the drill's bytes and not in its RTO",
            BinaryBytes(made.bytes_fetched)
        ));
        Ok(match loss {
            Loss::Moved => Lost {
                aside: Some(aside),
                ..nothing
            },
            Loss::Truncated | Loss::Corrupted | Loss::Deleted => Lost {
                existing: Existing::Exchange,
                ..nothing
            },
        })
    }
}

impl Lost {
    /// Removes what stays beside a restored source: what it replaced, and what had been moved away.
    pub(super) async fn clear(self, displaced: Option<PathBuf>) -> io::Result<()> {
        let paths: Vec<PathBuf> = self.aside.into_iter().chain(displaced).collect();
        let cleared = tokio::task::spawn_blocking(move || paths.iter().try_for_each(std::fs::remove_dir_all));
        cleared.await.map_err(io::Error::other)?
    }
}

/// The same for the same snapshot and source, so that a drill can be given again.
fn seed(snapshot: &str, source: &str) -> u64 {
    let hash = blake3::hash(format!("{snapshot} {source}").as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first)
}

/// Loses what stands in `folder`; how many files that hits.
fn lose(loss: Loss, folder: &Path, aside: &Path, seed: u64) -> io::Result<u64> {
    let files = files(folder)?;
    match loss {
        Loss::Deleted => std::fs::remove_dir_all(folder)?,
        Loss::Moved => {
            if let Some(parent) = aside.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::rename(folder, aside)?;
        }
        Loss::Truncated | Loss::Corrupted => {
            let mut chance = fastrand::Rng::with_seed(seed);
            for path in &files {
                let file = writable(path)?;
                let len = file.metadata()?.len();
                match loss {
                    _ if len == 0 => {}
                    Loss::Truncated => file.set_len(chance.u64(..len))?,
                    _ => corrupt(&file, len, &mut chance)?,
                }
            }
        }
    }
    Ok(files.len() as u64)
}

fn corrupt(file: &File, len: u64, chance: &mut fastrand::Rng) -> io::Result<()> {
    for start in (0..len).step_by(usize::try_from(STRETCH).unwrap_or(usize::MAX)) {
        let at = start + chance.u64(..STRETCH.min(len - start));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        byte[0] ^= 1 << chance.u8(..8);
        file.write_all_at(&byte, at)?;
    }
    Ok(())
}

/// Opens a file that its own mode may protect.
fn writable(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            open()
        }
        opened => opened,
    }
}

/// All regular files below a folder, in an order that is always the same.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
