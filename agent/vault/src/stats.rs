//! What a repository holds and what it costs.

use std::collections::HashSet;

use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Repository, Result, SnapshotId, layout};

/// Figures of one repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Snapshots.
    pub snapshots: u64,
    /// When the oldest was cut.
    pub oldest: Option<Timestamp>,
    /// When the newest was cut.
    pub newest: Option<Timestamp>,
    /// Objects of all kinds.
    pub objects: u64,
    /// Their bytes: what is stored.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs that no index names.
    pub packs_not_indexed: u64,
    /// Chunks that the index names.
    pub chunks: u64,
    /// Bytes that all snapshots would have if restored.
    pub snapshot_bytes: u64,
    /// Each snapshot's own figures, newest last.
    pub by_snapshot: Vec<SnapshotStats>,
}

/// Figures of one snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotStats {
    /// The snapshot.
    pub id: SnapshotId,
    /// When it was cut.
    pub created: Timestamp,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that its backup sent to the store.
    pub bytes_stored: Option<u64>,
    /// Why it is not to be trusted.
    pub suspect: Option<String>,
}

impl Stats {
    /// Bytes of all snapshots for each byte stored; `None` for an empty repository.
    pub fn ratio(&self) -> Option<f64> {
        (self.stored_bytes > 0).then(|| self.snapshot_bytes as f64 / self.stored_bytes as f64)
    }
}

/// Gathers the figures: one listing, and one small object for each snapshot.
///
/// # Errors
///
/// The store's, or the first manifest that does not open.
pub async fn gather(repository: &Repository) -> Result<Stats> {
    let index = repository.sync_index().await?;
    let mut stats = Stats {
        snapshots: 0,
        oldest: None,
        newest: None,
        objects: 0,
        stored_bytes: 0,
        packs: 0,
        pack_bytes: 0,
        packs_not_indexed: 0,
        chunks: index.chunks,
        snapshot_bytes: 0,
        by_snapshot: Vec::new(),
    };
    let named: HashSet<_> = repository
        .indexed_packs()
        .await?
        .into_iter()
        .map(|pack| pack.id)
        .collect();
    let mut listing = repository.storage().list("");
    while let Some(meta) = listing.next().await {
        let meta = meta.map_err(|error| crate::Error::Storage {
            location: repository.storage().location(),
            source: std::sync::Arc::new(error),
        })?;
        stats.objects += 1;
        stats.stored_bytes += meta.size;
        if let Some(pack) = layout::parse_pack(&meta.key) {
            stats.packs += 1;
            stats.pack_bytes += meta.size;
            stats.packs_not_indexed += u64::from(!named.contains(&pack));
        }
    }
    for info in repository.snapshots().await? {
        let manifest = repository.manifest_of(&info).await?;
        let files = manifest.sources.iter().map(|source| source.files).sum();
        let bytes = manifest.sources.iter().map(|source| source.bytes).sum();
        stats.snapshots += 1;
        stats.snapshot_bytes += bytes;
        stats.by_snapshot.push(SnapshotStats {
            id: info.id,
            created: manifest.created,
            files,
            bytes,
            bytes_stored: manifest
                .stats
                .get("bytes_stored")
                .and_then(serde_json::Value::as_u64),
            suspect: manifest.suspect,
        });
    }
    stats.oldest = stats.by_snapshot.first().map(|snapshot| snapshot.created);
    stats.newest = stats.by_snapshot.last().map(|snapshot| snapshot.created);
    Ok(stats)
}
