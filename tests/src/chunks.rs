//! Where the chunks of files lie in a host's local repository.
//!
//! Every repository cuts and packs by chance of its own: a case that damages some byte of a pack can not tell what it
//! has hit, and whether anybody needs it. One that asks here can.

use std::path::PathBuf;

use dr_vault::keys::Identity;
use dr_vault::read::{Options, SnapshotReader};
use dr_vault::storage::{self, StorageOptions};
use dr_vault::tree::TreePath;
use dr_vault::{ChunkId, Location, OpenOptions, Repository, Unlock, layout};

use crate::files;
use crate::host::Host;

/// More files than a fixture has.
const MOST_FILES: usize = 10_000;

/// One sealed chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The pack, relative to the repository.
    pub pack: PathBuf,
    /// Where in it the chunk starts.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
}

impl Place {
    /// Flips one bit in the middle of it.
    ///
    /// # Panics
    ///
    /// If the pack can not be read or written.
    #[track_caller]
    pub fn damage(&self, host: &Host) {
        let path = host.repository_dir().join(&self.pack);
        let mut bytes = std::fs::read(&path).expect("read a pack to be damaged");
        bytes[self.offset + self.length / 2] ^= 1;
        files::overwrite(&path, &bytes);
    }
}

/// Where the chunks of the wanted files of a source lie, by the newest snapshot and by the host's own key. Lists of
/// files are not among them.
///
/// # Panics
///
/// If the repository can not be read.
#[track_caller]
pub fn of_files(host: &Host, source: &str, wanted: impl Fn(&str) -> bool) -> Vec<Place> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("start a runtime");
    let located = runtime.block_on(locate(host, source, wanted));
    let place = |at: Location| Place {
        pack: layout::pack(&at.pack).as_str().into(),
        offset: at.offset as usize,
        length: at.sealed_len as usize,
    };
    located.into_iter().map(place).collect()
}

async fn locate(host: &Host, source: &str, wanted: impl Fn(&str) -> bool) -> Vec<Location> {
    let own = tempfile::tempdir().expect("make a folder for an index");
    let storage = storage::open(host.repository(), &StorageOptions::default()).await;
    let key = Identity::from_file(&host.key_file()).expect("read the host's key file");
    let (storage, unlock) = (storage.expect("open the store"), Unlock::Identities(key));
    let repository = Repository::open(storage, &unlock, OpenOptions::new(own.path())).await;
    let repository = repository.expect("open the repository");
    repository.sync_index().await.expect("read the index");
    let newest = repository.resolve("latest").await.expect("there is a snapshot");
    let manifest = repository.manifest(&newest.id).await.expect("read the manifest");
    let reader = SnapshotReader::new(&repository, manifest, Options::new(own.path()));
    let source = reader.source(source).await.expect("read the source's list");
    let mut all: Vec<Location> = locations(&repository).await;
    // What has been read by now is the list.
    all.retain(|at| !reader.coverage().contains(at));
    let nodes = source.list(&TreePath::root(), 0, MOST_FILES).await;
    for node in nodes.expect("list the source") {
        if let Some(len) = node
            .entry
            .file_len()
            .filter(|_| wanted(&node.entry.path.to_string()))
        {
            source.read(&node, 0..len).await.expect("read a file");
        }
    }
    all.retain(|at| reader.coverage().contains(at));
    all
}

/// Every chunk of every pack.
async fn locations(repository: &Repository) -> Vec<Location> {
    let mut ids: Vec<ChunkId> = Vec::new();
    for pack in repository.indexed_packs().await.expect("list packs") {
        let footer = repository.pack_footer(&pack.id, pack.size.into()).await;
        ids.extend(
            footer
                .expect("read a pack's footer")
                .iter()
                .map(|entry| entry.chunk),
        );
    }
    let located = repository.locate_many(&ids).await.expect("look up chunks");
    located.into_iter().flatten().collect()
}
