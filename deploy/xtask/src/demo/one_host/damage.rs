//! Damage on purpose: the demo's proof that a drill can fail.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::terminal;

/// Flips one bit in the middle of the largest pack that the newest snapshot wrote: data that it needs. What older packs
/// hold may have been compacted away since, and then a drill is right to pass.
pub(super) fn one_pack(repository: &Path) -> Result<()> {
    let pack = largest_new(&repository.join("packs"))?;
    let size = pack
        .metadata()
        .with_context(|| format!("look at {}", pack.display()))?
        .len();
    let offset = size / 2;
    // A local repository's objects are read-only files.
    let mut permissions = pack.metadata()?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&pack, permissions)
        .with_context(|| format!("open {} for damage", pack.display()))?;
    let file = OpenOptions::new().read(true).write(true).open(&pack);
    let file = file.with_context(|| format!("open {} for damage", pack.display()))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)
        .context("read the byte to damage")?;
    file.write_all_at(&[byte[0] ^ 0x10], offset)
        .context("damage a byte")?;
    terminal::step("damage one bit on purpose");
    terminal::note(&format!("byte {offset} of {}", pack.display()));
    Ok(())
}

/// Packs of one snapshot are written within this time of each other, and two snapshots of the demo are not.
const ONE_SNAPSHOT: Duration = Duration::from_secs(1);

/// The largest of the newest files in a folder of folders.
fn largest_new(folder: &Path) -> Result<PathBuf> {
    let mut files = Vec::new();
    for shelf in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        for entry in std::fs::read_dir(shelf?.path()).context("list a shelf of packs")? {
            let path = entry?.path();
            let metadata = path.metadata().context("look at a pack")?;
            files.push((
                metadata.modified().context("read a pack's time")?,
                metadata.len(),
                path,
            ));
        }
    }
    let newest = files
        .iter()
        .map(|(time, _, _)| *time)
        .max()
        .context("find a pack to damage")?;
    let new = files
        .into_iter()
        .filter(|(time, _, _)| *time + ONE_SNAPSHOT >= newest);
    new.max_by_key(|(_, len, _)| *len)
        .map(|(_, _, path)| path)
        .context("find a pack to damage")
}
