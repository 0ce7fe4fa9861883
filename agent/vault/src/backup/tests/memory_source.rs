//! Sources in memory for the tests of the engine: what is read of them is counted, and a hook can go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::backup::{Error, Input, InputEntry, InputKind, Outcome, Request, run};
use crate::chunking::ReadAt;
use crate::progress::Progress;
use crate::read::{Options, SnapshotReader};
use crate::tree::{Identity, Metadata, TreePath};
use crate::{Repository, SnapshotId};

type Hook = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// A source whose files lie in memory.
#[derive(Clone)]
pub(crate) struct MemorySource {
    name: String,
    files: BTreeMap<String, (Bytes, Option<Identity>)>,
    reads: Arc<AtomicU64>,
    hook: Hook,
}

struct Counted {
    bytes: Bytes,
    reads: Arc<AtomicU64>,
    hook: Hook,
}

impl ReadAt for Counted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.hook)(self.reads.fetch_add(1, Ordering::SeqCst))?;
        ReadAt::read_at(&self.bytes, buffer, offset)
    }
}

impl MemorySource {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: BTreeMap::new(),
            reads: Arc::default(),
            hook: Arc::new(|_| Ok(())),
        }
    }

    /// Adds a file that never changes once it is written: it has an identity.
    pub(crate) fn with(mut self, path: &str, bytes: Bytes) -> Self {
        let identity = Identity {
            dev: 1,
            inode: self.files.len() as u64,
            mtime_ns: 1,
            len: bytes.len() as u64,
        };
        self.files.insert(path.to_owned(), (bytes, Some(identity)));
        self
    }

    /// Adds, or replaces, a file that may change at any time.
    pub(crate) fn with_changing(mut self, path: &str, bytes: Bytes) -> Self {
        self.files.insert(path.to_owned(), (bytes, None));
        self
    }

    /// Gives a file other bytes of the same length; its identity stays, as if its disk had rotted.
    pub(crate) fn rotten(mut self, path: &str, bytes: Bytes) -> Self {
        let file = self.files.get_mut(path).unwrap();
        assert_eq!(file.0.len(), bytes.len());
        file.0 = bytes;
        self
    }

    /// Gives a file another identity, as if it had been written anew.
    pub(crate) fn touched(mut self, path: &str) -> Self {
        if let Some((_, Some(identity))) = self.files.get_mut(path) {
            identity.mtime_ns += 1;
        }
        self
    }

    /// Calls `hook` before each read with the number of those before.
    pub(crate) fn on_read(mut self, hook: impl Fn(u64) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.hook = Arc::new(hook);
        self
    }

    /// Reads so far, by this source and its clones.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// The source as the backup takes it, with the directories that its files need.
    pub(crate) fn input(&self) -> Input {
        let directories: BTreeSet<&str> = self
            .files
            .keys()
            .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]))
            .collect();
        let mut entries: Vec<InputEntry> = directories
            .into_iter()
            .map(|path| entry(path, 0o750, InputKind::Directory, None))
            .collect();
        entries.extend(self.files.iter().map(|(path, (bytes, identity))| {
            let content = Arc::new(Counted {
                bytes: bytes.clone(),
                reads: Arc::clone(&self.reads),
                hook: Arc::clone(&self.hook),
            });
            let len = bytes.len() as u64;
            entry(path, 0o640, InputKind::File { len, content }, *identity)
        }));
        Input::new(&self.name, "directory", format!("/srv/{}", self.name), entries)
    }

    /// What a restore of it should give: `<source>/<path>` and the content.
    pub(crate) fn expected(&self) -> BTreeMap<String, Bytes> {
        self.files
            .iter()
            .map(|(path, (bytes, _))| (format!("{}/{path}", self.name), bytes.clone()))
            .collect()
    }
}

fn entry(path: &str, mode: u32, kind: InputKind, identity: Option<Identity>) -> InputEntry {
    let metadata = Metadata {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime_ns: 1_700_000_000_000_000_000,
        ..Metadata::default()
    };
    InputEntry {
        path: path.parse().unwrap(),
        kind,
        metadata,
        identity,
    }
}

/// A request for these sources, after the snapshot `previous`.
pub(crate) fn request(
    repository: &Repository,
    sources: &[&MemorySource],
    previous: Option<SnapshotId>,
) -> Request {
    let mut request = Request::new(repository.clock().now(), "db-1", "test");
    request.inputs = sources.iter().map(|source| source.input()).collect();
    request.previous = previous;
    request
}

/// Stores these sources.
pub(crate) async fn store(
    repository: &Repository,
    sources: &[&MemorySource],
    previous: Option<SnapshotId>,
) -> Result<Outcome, Error> {
    let request = request(repository, sources, previous);
    run(repository, request, &Progress::new(), &CancellationToken::new()).await
}

/// What a snapshot holds: `<source>/<path>` and the content of each file.
pub(crate) async fn contents(repository: &Repository, id: &SnapshotId) -> BTreeMap<String, Bytes> {
    let spool = tempfile::tempdir().unwrap();
    let manifest = repository.manifest(id).await.unwrap();
    let reader = SnapshotReader::new(repository, manifest, Options::new(spool.path()));
    let mut contents = BTreeMap::new();
    for record in &reader.manifest().sources {
        let source = reader.source(&record.name).await.unwrap();
        for node in source.list(&TreePath::root(), 0, 10_000).await.unwrap() {
            let Some(len) = node.entry.file_len() else {
                continue;
            };
            let bytes = source.read(&node, 0..len).await.unwrap();
            contents.insert(format!("{}/{}", record.name, node.entry.path), bytes);
        }
    }
    contents
}
