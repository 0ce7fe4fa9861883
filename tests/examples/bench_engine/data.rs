//! Data as a LanceDB directory holds them: mostly embeddings, which no compressor shrinks, and some text.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// Bytes of one file.
const FILE: u64 = 64 << 20;
/// One file in so many is text.
const TEXT: u64 = 7;

/// Makes `bytes` of data below `folder`, the same every time.
pub(crate) fn make(folder: &Path, bytes: u64) -> Result<()> {
    std::fs::create_dir_all(folder).context("make the data's folder")?;
    let mut left = bytes;
    let mut number = 0;
    while left > 0 {
        let size = left.min(FILE);
        let path = folder.join(format!("data-{number:04}.lance"));
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).context("make a file of data")?);
        let mut chance = SmallRng::seed_from_u64(number);
        if number % TEXT == TEXT - 1 {
            text(&mut out, size, &mut chance)?;
        } else {
            embeddings(&mut out, size, &mut chance)?;
        }
        out.into_inner()
            .context("write a file of data")?
            .sync_all()
            .context("write a file of data")?;
        left -= size;
        number += 1;
    }
    Ok(())
}

/// Values of [-1, 1) as 32-bit floats.
fn embeddings(out: &mut impl Write, bytes: u64, chance: &mut SmallRng) -> Result<()> {
    for _ in 0..bytes / 4 {
        let value: f32 = chance.random_range(-1.0..1.0);
        out.write_all(&value.to_le_bytes()).context("write embeddings")?;
    }
    out.write_all(&vec![0; usize::try_from(bytes % 4)?])
        .context("write embeddings")
}

/// Sentences of few words.
fn text(out: &mut impl Write, bytes: u64, chance: &mut SmallRng) -> Result<()> {
    const WORDS: [&str; 16] = [
        "agent ",
        "restarted ",
        "the ",
        "worker ",
        "after ",
        "a ",
        "deploy ",
        "because ",
        "latency ",
        "rose ",
        "ticket ",
        "closed ",
        "index ",
        "was ",
        "rebuilt ",
        "again.\n",
    ];
    let mut left = bytes;
    while left > 0 {
        let number = chance.next_u32();
        let word = WORDS[usize::try_from(number % 16)?].as_bytes();
        let end = word.len().min(usize::try_from(left)?);
        out.write_all(&word[..end]).context("write text")?;
        left -= end as u64;
    }
    Ok(())
}

/// Bytes of all files below `folder`; 0 where there is none.
pub(crate) fn size_of(folder: &Path) -> Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let meta = path.symlink_metadata()?;
        bytes += if meta.is_dir() {
            size_of(&path)?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

/// BLAKE3 over names and contents of all files of one flat folder.
pub(crate) fn hash_of(folder: &Path) -> Result<blake3::Hash> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    names.sort();
    let mut hasher = blake3::Hasher::new();
    for path in names {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher
            .update_reader(File::open(&path)?)
            .with_context(|| format!("read {}", path.display()))?;
    }
    Ok(hasher.finalize())
}
