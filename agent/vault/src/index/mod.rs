//! The map from chunk to pack: index objects in the repository, and a sorted copy of them on local disk.
//!
//! # Overview
//!
//! Every run writes index objects that name the packs it stored. A host keeps their union as a few sorted files
//! (segments) in its cache folder and looks chunks up there, so memory does not grow with the repository.
//!
//! # Consistency
//!
//! A segment lists the index objects that it covers, and covers each in full. So what to download and what to drop
//! is the difference of two sets of names. The cache can be removed at any time, and several processes can use it
//! at once: files have unique names and never change; what two of them did twice is found on the next opening.
//!
//! # Crash consistency
//!
//! A segment gets its name when it is complete. Unfinished files are swept once nobody holds their lock. Files that
//! rot or that a power cut spoiled fail their checks, are removed, and are downloaded again.

mod build;
mod merge;
pub(crate) mod object;
mod record;
mod segment;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use self::build::SegmentWriter;
use self::record::{PackRow, Record};
use self::segment::Segment;
use crate::error::{Error, Result};
use crate::id::{ChunkId, IndexId, PackId};
use crate::keys::SALT_LEN;
use crate::pack::Contents;

/// Segments of similar size are merged when there are this many.
const TIER: usize = 4;
/// Records of the smallest tier: what one index object holds.
const TIER_BASE: u64 = 64 << 10;

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// Where the sealed chunk starts in it.
    pub offset: u32,
    /// Length of the sealed chunk with its tag.
    pub sealed_len: u32,
    /// Length of the plain chunk.
    pub raw_len: u32,
    /// Position among the pack's chunks.
    pub ordinal: u32,
    /// The pack's salt, so that one range of it can be opened alone.
    pub(crate) salt: [u8; SALT_LEN],
}

impl Location {
    /// Where the chunk of that ordinal is in a pack whose contents are known. Panics past the end.
    #[cfg(test)]
    pub(crate) fn of(contents: &Contents, ordinal: usize) -> Self {
        let entry = &contents.entries[ordinal];
        Self {
            pack: contents.pack,
            offset: entry.offset,
            sealed_len: entry.sealed_len,
            raw_len: entry.raw_len,
            ordinal: ordinal as u32,
            salt: contents.salt,
        }
    }
}

/// What the local index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexStats {
    /// Index objects in the repository.
    pub objects: u64,
    /// Packs that they name.
    pub packs: u64,
    /// Bytes of these packs.
    pub pack_bytes: u64,
    /// Entries; a chunk that two packs hold counts twice.
    pub chunks: u64,
    /// Index objects downloaded by this call.
    pub downloaded: u64,
    /// Index objects of these that are damaged: the footers of packs were read in their stead.
    pub damaged: u64,
}

/// A pack that the index names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub id: PackId,
    /// Its size in bytes.
    pub size: u32,
    /// The index object that names it.
    pub index: IndexId,
}

/// What one index object says.
pub(crate) type Source = (IndexId, Vec<Contents>);

type Segments = Arc<Vec<Arc<Segment>>>;

/// The local index. All calls block on local disk only.
#[derive(Debug)]
pub(crate) struct LocalIndex {
    dir: PathBuf,
    segments: RwLock<Segments>,
    /// Held by whoever changes the list of segments.
    change: Mutex<()>,
    /// A segment was found damaged and dropped: what it covered must be downloaded again.
    incomplete: AtomicBool,
    /// Packs that index objects name and the store does not hold, or not whole.
    lost: RwLock<Arc<HashSet<PackId>>>,
}

impl LocalIndex {
    /// Opens the segments in `dir`; those that are damaged are removed.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::local("create index cache", dir, e))?;
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|e| Error::local("list index cache", dir, e))? {
            let path = entry
                .map_err(|e| Error::local("list index cache", dir, e))?
                .path();
            match path.extension().and_then(|e| e.to_str()) {
                Some(build::UNFINISHED) => build::sweep(&path),
                Some(build::FINISHED) => segments.extend(open_or_remove(&path)?),
                _ => {}
            }
        }
        let segments = without_redundant(segments);
        Ok(Self {
            dir: dir.to_owned(),
            segments: RwLock::new(Arc::new(segments)),
            change: Mutex::new(()),
            incomplete: AtomicBool::new(false),
            lost: RwLock::default(),
        })
    }

    fn segments(&self) -> Segments {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `added` in the place of `removed` and unlinks the latter.
    fn replace(&self, removed: &[Arc<Segment>], added: Option<Arc<Segment>>) {
        let is_removed = |s: &Arc<Segment>| removed.iter().any(|r| Arc::ptr_eq(r, s));
        let mut current = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<Arc<Segment>> = current.iter().filter(|s| !is_removed(s)).cloned().collect();
        list.extend(added);
        // The largest first: it is the likeliest to hold a chunk.
        list.sort_by_key(|s| std::cmp::Reverse(s.records()));
        *current = Arc::new(list);
        drop(current);
        for segment in removed {
            remove_file(segment.path());
        }
    }

    /// Passes damage of a segment by: it is dropped, and the next synchronisation downloads it again.
    fn drop_if_damaged(&self, segment: &Arc<Segment>, error: Error) -> Result<()> {
        if !matches!(error, Error::CacheDamaged { .. }) {
            return Err(error);
        }
        tracing::warn!(%error, "dropped a damaged segment of the local index");
        self.replace(std::slice::from_ref(segment), None);
        self.incomplete.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether something was dropped since the last time that this was asked.
    pub(crate) fn take_incomplete(&self) -> bool {
        self.incomplete.swap(false, Ordering::AcqRel)
    }

    /// Remembers which packs are lost, until the next time that somebody looks: nothing relies on them.
    pub(crate) fn set_lost(&self, packs: HashSet<PackId>) {
        *self.lost.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(packs);
    }

    fn lost(&self) -> Arc<HashSet<PackId>> {
        Arc::clone(&self.lost.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether any pack that is not lost holds the chunk.
    pub(crate) fn contains(&self, chunk: &ChunkId, buffer: &mut Vec<u8>) -> Result<bool> {
        let lost = self.lost();
        for segment in self.segments().iter() {
            let mut found = false;
            let looked = segment.find(chunk, buffer, |record| {
                found |=
                    lost.is_empty() || !lost.contains(&PackId::from_bytes(segment.pack(record.pack)?.id));
                Ok(())
            });
            if let Err(error) = looked {
                self.drop_if_damaged(segment, error)?;
            } else if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All places where the chunk is; usually one. Those in lost packs come last.
    pub(crate) fn locate(&self, chunk: &ChunkId) -> Result<Vec<Location>> {
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for segment in self.segments().iter() {
            let looked = segment.find(chunk, &mut buffer, |record| {
                let location = location(&record, &segment.pack(record.pack)?);
                if !found.contains(&location) {
                    found.push(location);
                }
                Ok(())
            });
            if let Err(error) = looked {
                self.drop_if_damaged(segment, error)?;
            }
        }
        let lost = self.lost();
        if !lost.is_empty() {
            found.sort_by_key(|location| lost.contains(&location.pack));
        }
        Ok(found)
    }

    /// The index objects that are covered.
    pub(crate) fn sources(&self) -> HashSet<IndexId> {
        self.segments()
            .iter()
            .flat_map(|s| s.sources().to_vec())
            .collect()
    }

    /// Adds what index objects say, as one segment; merges segments when there are many.
    pub(crate) fn add(&self, sources: &[Source]) -> Result<()> {
        let _changing = self.changing();
        let path = write_segment(&self.dir, sources)?;
        self.replace(&[], Some(Arc::new(Segment::open(&path)?)));
        self.compact()
    }

    /// Drops what comes from index objects that are gone.
    pub(crate) fn remove(&self, gone: &HashSet<IndexId>) -> Result<()> {
        let _changing = self.changing();
        for segment in self.segments().iter() {
            if segment.sources().iter().any(|source| gone.contains(source)) {
                self.rewrite(std::slice::from_ref(segment), gone)?;
            }
        }
        Ok(())
    }

    /// Merges tiers of similar size until none has too many.
    fn compact(&self) -> Result<()> {
        while let Some(group) = crowded(&self.segments()) {
            self.rewrite(&group, &HashSet::new())?;
        }
        Ok(())
    }

    fn rewrite(&self, group: &[Arc<Segment>], gone: &HashSet<IndexId>) -> Result<()> {
        let inputs: Vec<&Segment> = group.iter().map(AsRef::as_ref).collect();
        match merge::merge(&self.dir, &inputs, gone) {
            Ok(path) => {
                let merged = path.map(|p| Segment::open(&p)).transpose()?;
                self.replace(group, merged.map(Arc::new));
                Ok(())
            }
            Err(Error::CacheDamaged { path, reason }) => {
                let damaged: Vec<_> = group.iter().filter(|s| s.path() == path).cloned().collect();
                match damaged.first() {
                    Some(segment) => self.drop_if_damaged(segment, Error::CacheDamaged { path, reason }),
                    None => Err(Error::CacheDamaged { path, reason }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Calls `each` for every pack that the index names; twice for one that two index objects name.
    pub(crate) fn each_pack(&self, mut each: impl FnMut(IndexedPack)) -> Result<()> {
        for segment in self.segments().iter() {
            for row in 0..segment.packs() {
                let PackRow { id, size, source, .. } = segment.pack(row)?;
                let index = segment.sources()[source as usize];
                each(IndexedPack {
                    id: PackId::from_bytes(id),
                    size,
                    index,
                });
            }
        }
        Ok(())
    }

    /// Figures; `downloaded` is left at zero.
    pub(crate) fn stats(&self) -> Result<IndexStats> {
        let mut stats = IndexStats {
            objects: self.sources().len() as u64,
            ..IndexStats::default()
        };
        stats.chunks = self.segments().iter().map(|s| s.records()).sum();
        self.each_pack(|pack| {
            stats.packs += 1;
            stats.pack_bytes += u64::from(pack.size);
        })?;
        Ok(stats)
    }
}

fn location(record: &Record, pack: &PackRow) -> Location {
    Location {
        pack: PackId::from_bytes(pack.id),
        offset: record.offset,
        sealed_len: record.sealed_len,
        raw_len: record.raw_len,
        ordinal: record.ordinal,
        salt: pack.salt,
    }
}

fn remove_file(path: &Path) {
    // Another process may have removed it; what stays behind is found redundant on the next opening.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "can not remove an index segment");
    }
}

fn open_or_remove(path: &Path) -> Result<Option<Arc<Segment>>> {
    match Segment::open(path) {
        Ok(segment) => Ok(Some(Arc::new(segment))),
        Err(error @ Error::CacheDamaged { .. }) => {
            tracing::warn!(%error, "removed a damaged segment of the local index");
            remove_file(path);
            Ok(None)
        }
        // Merged away by another process since the folder was listed.
        Err(Error::Local { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Leaves segments out (and removes them) whose sources larger ones cover: two processes did the same work.
fn without_redundant(mut segments: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
    segments.sort_by_key(|s| std::cmp::Reverse((s.sources().len(), s.records())));
    let mut covered = HashSet::new();
    segments.retain(|segment| {
        let news = segment
            .sources()
            .iter()
            .filter(|source| covered.insert(**source))
            .count();
        if news == 0 {
            remove_file(segment.path());
        }
        news > 0
    });
    segments.sort_by_key(|s| std::cmp::Reverse(s.records()));
    segments
}

fn write_segment(dir: &Path, sources: &[Source]) -> Result<PathBuf> {
    let packs = || {
        sources
            .iter()
            .enumerate()
            .flat_map(|(n, (_, packs))| packs.iter().map(move |p| (n, p)))
    };
    let mut records: Vec<Record> = packs()
        .enumerate()
        .flat_map(|(row, (_, pack))| {
            pack.entries
                .iter()
                .enumerate()
                .map(move |(ordinal, entry)| Record {
                    chunk: entry.chunk,
                    pack: row as u32,
                    offset: entry.offset,
                    sealed_len: entry.sealed_len,
                    raw_len: entry.raw_len,
                    ordinal: ordinal as u32,
                })
        })
        .collect();
    records.sort_unstable();
    let mut writer = SegmentWriter::create(dir)?;
    for record in &records {
        writer.push(record)?;
    }
    let rows = packs().map(|(source, pack)| {
        Ok(PackRow {
            id: *pack.pack.as_bytes(),
            salt: pack.salt,
            size: pack.size,
            source: source as u32,
        })
    });
    let ids: Vec<IndexId> = sources.iter().map(|(id, _)| *id).collect();
    writer.finish(rows, &ids)
}

/// The segments of the lowest tier that has too many.
fn crowded(segments: &[Arc<Segment>]) -> Option<Vec<Arc<Segment>>> {
    let tier = |s: &Arc<Segment>| (s.records() / TIER_BASE).max(1).ilog(TIER as u64);
    let lowest = |t: u32| -> Vec<_> { segments.iter().filter(|s| tier(s) == t).cloned().collect() };
    let highest = segments.iter().map(tier).max()?;
    (0..=highest).map(lowest).find(|group| group.len() >= TIER)
}

#[cfg(test)]
pub(crate) mod tests;
