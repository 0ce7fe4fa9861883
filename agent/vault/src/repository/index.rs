//! The index: index objects of the repository, the local copy, and its rebuilding from the packs' own footers.
//!
//! # Crash consistency
//!
//! A pack is stored before the index object that names it. What a crash leaves between is a pack that no index
//! names: dead weight, or, when it was the index object that got lost, the way to get it back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::objects::NOTHING;
use super::{Inner, Repository, blocking};
use crate::cipher::Kind;
use crate::envelope::{self, Sealed};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::header::HEADER_LEN;
use crate::id::{ChunkId, Digest, IndexId, PackId};
use crate::index::{IndexStats, IndexedPack, Location, Source, object};
use crate::layout;
use crate::pack::{self, Contents, FooterEntry, TRAILER_LEN};
use crate::storage::{Key, ObjectMeta};

/// How many index objects are downloaded at once: each can have some MiB.
const DOWNLOADS: usize = 3;
/// How many footers are read at once.
const FOOTERS: usize = 8;
/// Records that are gathered before a segment or an index object is written.
pub(crate) const FLUSH_RECORDS: usize = 64 << 10;
const SEGMENT_RECORDS: usize = 4 * FLUSH_RECORDS;
/// What is read of a pack's end at first: most footers fit.
pub(crate) const TAIL: u64 = 64 << 10;

/// The packs of a repository: what the store lists, beside what the index names.
#[derive(Debug, Clone, Default)]
pub struct PackListing {
    /// Those that are there, with their sizes.
    pub listed: HashMap<PackId, u64>,
    /// Those that the index names and that are gone, or have another size than was written.
    pub lost: Vec<IndexedPack>,
    /// Those that no index names: an interrupted backup left them, or an index object is lost.
    pub unnamed: Vec<PackId>,
    /// Objects among them whose names are those of no pack.
    pub strange: Vec<Key>,
}

impl Repository {
    /// Brings the local index up to date: downloads new index objects, drops those that vanished.
    ///
    /// A damaged index object does not stop this: the packs' own footers are read in its stead, which takes
    /// longer, and [`IndexStats::damaged`] counts it.
    ///
    /// # Errors
    ///
    /// The store's, or the local disk's.
    pub async fn sync_index(&self) -> Result<IndexStats> {
        let _alone = self.inner.syncing.lock().await;
        self.sync_alone().await
    }

    async fn sync_alone(&self) -> Result<IndexStats> {
        let listed = self.inner.list(layout::INDEX).await?;
        let remote: HashSet<IndexId> = listed
            .iter()
            .filter_map(|m| layout::parse_index(&m.key))
            .collect();
        let local = self.inner.index.sources();
        let gone: HashSet<IndexId> = local.difference(&remote).copied().collect();
        let new: Vec<IndexId> = remote.difference(&local).copied().collect();
        self.with_index(move |index| index.remove(&gone)).await?;
        self.inner.index.take_incomplete();
        self.inner.recovered.store(false, Ordering::Release);
        let damaged = self.download(&new).await?;
        if !damaged.is_empty() {
            self.recover(damaged[0]).await?;
        }
        let mut stats = self.with_index(|index| index.stats()).await?;
        stats.objects = remote.len() as u64;
        stats.downloaded = new.len() as u64;
        stats.damaged = damaged.len() as u64;
        Ok(stats)
    }

    /// Downloads index objects into segments; answers those that are damaged.
    async fn download(&self, new: &[IndexId]) -> Result<Vec<IndexId>> {
        let mut damaged = Vec::new();
        let mut gathered: Vec<Source> = Vec::new();
        let mut records = 0;
        let mut incoming = stream::iter(new.iter().copied())
            .map(|id| async move { (id, self.read_index(&id).await) })
            .buffer_unordered(DOWNLOADS);
        while let Some((id, read)) = incoming.next().await {
            match read {
                Ok(packs) => {
                    records += packs.iter().map(|p| p.entries.len()).sum::<usize>();
                    gathered.push((id, packs));
                }
                // Removed since it was listed: the next sync sees what took its place.
                Err(Error::Missing { object, .. }) => tracing::info!(%object, "index object vanished"),
                Err(error) if error.is_damage() || matches!(error, Error::ForeignRepository { .. }) => {
                    tracing::warn!(%error, "passed over a damaged index object");
                    damaged.push(id);
                }
                Err(error) => return Err(error),
            }
            if records >= SEGMENT_RECORDS {
                let sources = std::mem::take(&mut gathered);
                records = 0;
                self.with_index(move |index| index.add(&sources)).await?;
            }
        }
        if !gathered.is_empty() {
            self.with_index(move |index| index.add(&gathered)).await?;
        }
        Ok(damaged)
    }

    async fn with_index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::index::LocalIndex) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner.index)).await
    }

    async fn read_index(&self, id: &IndexId) -> Result<Vec<Contents>> {
        let key = layout::index(id);
        let sealed = self.inner.get_named(&key, id.as_bytes(), "it was listed").await?;
        let body = self.unseal(Kind::Index, NOTHING, &key, sealed).await?;
        object::decode(&body).map_err(|reason| Error::damaged(&key, reason))
    }

    /// Reads and proves an index object of the repository itself, and answers the packs that it names.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Missing`], or the store's.
    pub async fn check_index(&self, id: &IndexId) -> Result<Vec<IndexedPack>> {
        let packs = self.read_index(id).await?;
        Ok(packs
            .iter()
            .map(|p| IndexedPack {
                id: p.pack,
                size: p.size,
                index: *id,
            })
            .collect())
    }

    /// The index objects of the repository, by listing alone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn indexes(&self) -> Result<Vec<IndexId>> {
        let listed = self.inner.list(layout::INDEX).await?;
        Ok(listed
            .iter()
            .filter_map(|m| layout::parse_index(&m.key))
            .collect())
    }

    /// Where a chunk is, by the local index.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub async fn locate(&self, chunk: &ChunkId) -> Result<Option<Location>> {
        Ok(self
            .locate_many(std::slice::from_ref(chunk))
            .await?
            .pop()
            .flatten())
    }

    /// Where chunks are, in the order asked, in one step.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub async fn locate_many(&self, chunks: &[ChunkId]) -> Result<Vec<Option<Location>>> {
        let all = self.locate_all(chunks.to_vec()).await?;
        Ok(all.into_iter().map(|places| places.into_iter().next()).collect())
    }

    /// Which chunks the repository holds, in the order asked: in packs that were there when
    /// [`Repository::sync_packs`] last looked.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub async fn holds_many(&self, chunks: &[ChunkId]) -> Result<Vec<bool>> {
        let chunks = chunks.to_vec();
        self.with_index(move |index| {
            let mut buffer = Vec::new();
            chunks
                .iter()
                .map(|chunk| index.contains(chunk, &mut buffer))
                .collect()
        })
        .await
    }

    /// Compares the packs that the index names with those that the store lists. From then on what only a lost pack
    /// holds counts as not held: the next backup that meets it stores it again, and reading begins elsewhere.
    ///
    /// # Errors
    ///
    /// The store's, and if the local index can not be read.
    pub async fn sync_packs(&self) -> Result<PackListing> {
        let listed = self.inner.list(layout::PACKS).await?;
        let mut packs = PackListing::default();
        for meta in listed {
            match layout::parse_pack(&meta.key) {
                Some(pack) => drop(packs.listed.insert(pack, meta.size)),
                None => packs.strange.push(meta.key),
            }
        }
        let (mut lost, mut named) = (HashSet::new(), HashSet::new());
        for pack in self.indexed_packs().await? {
            named.insert(pack.id);
            if packs.listed.get(&pack.id) != Some(&u64::from(pack.size)) {
                lost.insert(pack.id);
                packs.lost.push(pack);
            }
        }
        let unnamed = packs.listed.keys().filter(|pack| !named.contains(*pack));
        packs.unnamed = unnamed.copied().collect();
        if !lost.is_empty() {
            tracing::warn!(
                packs = lost.len(),
                "packs that the index names are gone or cut short"
            );
        }
        self.inner.index.set_lost(lost);
        Ok(packs)
    }

    /// All places of each chunk. A damaged part of the local index is downloaded again.
    pub(super) async fn locate_all(&self, chunks: Vec<ChunkId>) -> Result<Vec<Vec<Location>>> {
        let found = self.look_up(chunks.clone()).await?;
        if !self.inner.index.take_incomplete() {
            return Ok(found);
        }
        self.sync_index().await?;
        self.look_up(chunks).await
    }

    async fn look_up(&self, chunks: Vec<ChunkId>) -> Result<Vec<Vec<Location>>> {
        self.with_index(move |index| chunks.iter().map(|chunk| index.locate(chunk)).collect())
            .await
    }

    /// Like [`Repository::locate`], for threads that may block.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub fn locate_blocking(&self, chunk: &ChunkId) -> Result<Option<Location>> {
        Ok(self.inner.index.locate(chunk)?.into_iter().next())
    }

    /// The packs that the local index names, each once.
    ///
    /// # Errors
    ///
    /// Only if the local index can not be read.
    pub async fn indexed_packs(&self) -> Result<Vec<IndexedPack>> {
        self.with_index(|index| {
            let mut packs = Vec::new();
            index.each_pack(|pack| packs.push(pack))?;
            packs.sort_by_key(|p| (p.id, p.index));
            packs.dedup_by_key(|p| p.id);
            Ok(packs)
        })
        .await
    }

    /// A pack's own list of its chunks, read from its sealed footer; `size` as listed.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Missing`], or the store's.
    pub async fn pack_footer(&self, pack: &PackId, size: u64) -> Result<Vec<FooterEntry>> {
        Ok(self.inner.pack_contents(pack, size).await?.entries)
    }

    /// Reads footers of packs that the local index does not name into it, until the next sync: how reading goes on
    /// after the loss of an index object, also without the right to write. Does so once per sync. Answers whether
    /// anything was found.
    pub(super) async fn recover_once(&self) -> Result<bool> {
        let _alone = self.inner.syncing.lock().await;
        if self.inner.recovered.load(Ordering::Acquire) {
            return Ok(true);
        }
        // A name that no index object has: the next sync drops it.
        self.recover(IndexId::from_bytes(
            *Digest::of(b"recovered from footers").as_bytes(),
        ))
        .await
    }

    async fn recover(&self, source: IndexId) -> Result<bool> {
        let unnamed = self.unnamed_packs().await?;
        tracing::info!(
            packs = unnamed.len(),
            "reading footers of packs that no index names"
        );
        let mut found = false;
        let mut incoming = self.contents_of(unnamed);
        let mut packs = Vec::new();
        while let Some(contents) = incoming.next().await {
            match contents {
                Ok(contents) => packs.push(contents),
                Err(error) if error.is_damage() => tracing::warn!(%error, "passed over a damaged pack"),
                Err(error) => return Err(error),
            }
        }
        drop(incoming);
        if !packs.is_empty() {
            found = true;
            self.with_index(move |index| index.add(&[(source, packs)]))
                .await?;
        }
        self.inner.recovered.store(true, Ordering::Release);
        Ok(found)
    }

    async fn unnamed_packs(&self) -> Result<Vec<(PackId, u64)>> {
        let named: HashSet<PackId> = self.indexed_packs().await?.into_iter().map(|p| p.id).collect();
        let listed = self.inner.list(layout::PACKS).await?;
        let unnamed = |meta: &ObjectMeta| {
            layout::parse_pack(&meta.key)
                .filter(|id| !named.contains(id))
                .map(|id| (id, meta.size))
        };
        Ok(listed.iter().filter_map(unnamed).collect())
    }

    fn contents_of(&self, packs: Vec<(PackId, u64)>) -> stream::BoxStream<'_, Result<Contents>> {
        stream::iter(packs)
            .map(move |(id, size)| async move { self.inner.pack_contents(&id, size).await })
            .buffer_unordered(FOOTERS)
            .boxed()
    }

    /// Writes index objects for packs that no index names: after the loss of one, or a crash. Answers their ids.
    /// Packs whose footers are damaged are passed over; a check names them.
    ///
    /// # Errors
    ///
    /// What failed.
    pub async fn rebuild_index(&self) -> Result<Vec<IndexId>> {
        let _alone = self.inner.syncing.lock().await;
        self.sync_alone().await?;
        let unnamed = self.unnamed_packs().await?;
        let readable = self
            .contents_of(unnamed)
            .try_filter_map(|c| async move { Ok(Some(c)) });
        let mut readable = std::pin::pin!(readable);
        let (mut written, mut gathered, mut records) = (Vec::new(), Vec::new(), 0);
        while let Some(contents) = readable.next().await {
            match contents {
                Ok(contents) => {
                    records += contents.entries.len();
                    gathered.push(contents);
                }
                Err(error) if error.is_damage() => tracing::warn!(%error, "passed over a damaged pack"),
                Err(error) => return Err(error),
            }
            if records >= FLUSH_RECORDS {
                records = 0;
                written.push(self.inner.put_index(std::mem::take(&mut gathered)).await?);
            }
        }
        if !gathered.is_empty() {
            written.push(self.inner.put_index(gathered).await?);
        }
        Ok(written)
    }
}

impl Inner {
    /// Reads and opens a pack's header and footer: one request, or two where the pack is large, three where its
    /// footer is.
    pub(super) async fn pack_contents(&self, pack: &PackId, size: u64) -> Result<Contents> {
        let object = layout::pack(pack);
        let get = async |range: std::ops::Range<u64>| {
            let got = self.storage.get(&object, Some(range)).await;
            got.map_err(|e| self.failed(e, "it was listed, or an index names it"))
        };
        let mut start = size.saturating_sub(TAIL);
        let mut tail = get(start..size).await?;
        let len = pack::footer_len(&object, size, &tail)?;
        let wanted = (len + TRAILER_LEN) as u64;
        if size - start < wanted {
            start = size - wanted;
            tail = get(start..size).await?;
        }
        if tail.len() as u64 != size - start {
            return Err(Error::damaged(
                &object,
                format!("it is shorter than the {size} bytes listed"),
            ));
        }
        let header = match start {
            0 => tail.slice(..HEADER_LEN.min(tail.len())),
            _ => get(0..HEADER_LEN as u64).await?,
        };
        let footer = tail.slice(tail.len() - wanted as usize..tail.len() - TRAILER_LEN);
        pack::open_footer(&self.ring, *pack, &object, size, &header, &footer)
    }

    /// Stores an index object that names these packs, then takes it into the local index.
    pub(crate) async fn put_index(self: &Arc<Self>, packs: Vec<Contents>) -> Result<IndexId> {
        let inner = Arc::clone(self);
        let (id, sealed, packs) = blocking(move || {
            let sealed = envelope::seal(&inner.ring, Kind::Index, NOTHING, &object::encode(packs.iter()))?;
            Ok((IndexId::from_bytes(*sealed.digest.as_bytes()), sealed, packs))
        })
        .await?;
        self.put_index_object(&id, &sealed).await?;
        failpoint::reach("writer.index.stored");
        let inner = Arc::clone(self);
        blocking(move || inner.index.add(&[(id, packs)])).await?;
        Ok(id)
    }

    async fn put_index_object(&self, id: &IndexId, sealed: &Sealed) -> Result<()> {
        self.put_sealed(&layout::index(id), sealed).await
    }
}
