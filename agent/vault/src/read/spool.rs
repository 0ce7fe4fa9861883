//! A file list unrolled into anonymous temporary files, for random access with constant memory.
//!
//! ## Layout
//! Three files, each without a name (gone with the process, whatever ends it): the nodes one after the other, the
//! offset of each node, and 40 bytes for each chunk: its id and where in its file it ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ChunkId;
use crate::tree::{ChunkRef, ContentHash, Decoder, Encoder, Entry, EntryKind, Record, TreePath};

const CHUNK_RECORD: u64 = 40;
/// Hash, first chunk, number of chunks; the entry follows.
const NODE_HEADER: usize = 4 + 32 + 8 + 8;

/// An entry of a source, with all that is needed to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub entry: Entry,
    /// Hash of its whole content; only files have one.
    pub hash: Option<ContentHash>,
    pub(crate) chunks: Range<u64>,
}

/// A chunk and what of its file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) id: ChunkId,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Appends records, later to be read at random.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    nodes: BufWriter<File>,
    offsets: BufWriter<File>,
    chunks: BufWriter<File>,
    nodes_len: u64,
    count: u64,
    chunk_count: u64,
    open: Option<(Entry, u64, u64)>,
}

/// A file list on disk.
#[derive(Debug)]
pub(crate) struct Spool {
    nodes: File,
    offsets: File,
    chunks: File,
    nodes_len: u64,
    count: u64,
    chunk_count: u64,
}

impl SpoolWriter {
    /// An empty list whose files lie in `dir`.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let file = || unnamed_file(dir).map(BufWriter::new);
        Ok(Self {
            nodes: file()?,
            offsets: file()?,
            chunks: file()?,
            nodes_len: 0,
            count: 0,
            chunk_count: 0,
            open: None,
        })
    }

    /// Appends a record of a [`Decoder`]'s making.
    pub(crate) fn push(&mut self, record: Record) -> io::Result<()> {
        match record {
            Record::Entry(entry) => match entry.kind {
                EntryKind::File { .. } => self.open = Some((entry, self.chunk_count, 0)),
                EntryKind::Directory | EntryKind::Symlink { .. } => {
                    self.write_node(entry, None, self.chunk_count..self.chunk_count)?;
                }
            },
            Record::Chunks(chunks) => self.push_chunks(&chunks)?,
            Record::End(hash) => {
                if let Some((entry, first, _)) = self.open.take() {
                    self.write_node(entry, Some(hash), first..self.chunk_count)?;
                }
            }
        }
        Ok(())
    }

    fn push_chunks(&mut self, chunks: &[ChunkRef]) -> io::Result<()> {
        let Some((_, _, end)) = &mut self.open else {
            return Ok(());
        };
        for chunk in chunks {
            *end += u64::from(chunk.len);
            self.chunks.write_all(chunk.id.as_bytes())?;
            self.chunks.write_all(&end.to_le_bytes())?;
            self.chunk_count += 1;
        }
        Ok(())
    }

    fn write_node(&mut self, entry: Entry, hash: Option<ContentHash>, chunks: Range<u64>) -> io::Result<()> {
        // One entry alone has no predecessors to agree with: it is wrapped in the directories that it needs.
        let bytes = Encoder::encode_alone(&entry).map_err(io::Error::other)?;
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.offsets.write_all(&self.nodes_len.to_le_bytes())?;
        self.nodes.write_all(&len.to_le_bytes())?;
        self.nodes
            .write_all(hash.as_ref().map_or(&[0; 32], |hash| hash.as_bytes()))?;
        self.nodes.write_all(&chunks.start.to_le_bytes())?;
        self.nodes.write_all(&(chunks.end - chunks.start).to_le_bytes())?;
        self.nodes.write_all(&bytes)?;
        self.nodes_len += (NODE_HEADER + bytes.len()) as u64;
        self.count += 1;
        Ok(())
    }

    /// The list, readable.
    pub(crate) fn finish(self) -> io::Result<Spool> {
        let into_file = |buffered: BufWriter<File>| buffered.into_inner().map_err(|error| error.into_error());
        Ok(Spool {
            nodes: into_file(self.nodes)?,
            offsets: into_file(self.offsets)?,
            chunks: into_file(self.chunks)?,
            nodes_len: self.nodes_len,
            count: self.count,
            chunk_count: self.chunk_count,
        })
    }
}

impl Spool {
    /// How many nodes there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// The node at `index`, in order of path. Blocking.
    pub(crate) fn node(&self, index: u64) -> io::Result<Node> {
        let start = self.offset(index)?;
        let end = if index + 1 < self.count {
            self.offset(index + 1)?
        } else {
            self.nodes_len
        };
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        self.nodes.read_exact_at(&mut bytes, start)?;
        let (header, body) = bytes
            .split_at_checked(NODE_HEADER)
            .ok_or(io::ErrorKind::InvalidData)?;
        let entry = Decoder::decode_alone(body).map_err(io::Error::other)?;
        let number = |at: usize| read_u64(header.get(at..at + 8).unwrap_or_default());
        let hash = header
            .get(4..36)
            .and_then(|hash| <[u8; 32]>::try_from(hash).ok())
            .map(ContentHash::from_bytes);
        let (first, count) = (number(36), number(44));
        let hash = hash.filter(|_| entry.file_len().is_some());
        Ok(Node {
            entry,
            hash,
            chunks: first..first + count,
        })
    }

    fn offset(&self, index: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.offsets.read_exact_at(&mut bytes, index * 8)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Index of the first node whose path is not before `path`. Blocking.
    pub(crate) fn lower_bound(&self, path: &TreePath) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.node(middle)?.entry.path < *path {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok(low)
    }

    /// The node of that path. Blocking.
    pub(crate) fn find(&self, path: &TreePath) -> io::Result<Option<Node>> {
        let index = self.lower_bound(path)?;
        if index == self.count {
            return Ok(None);
        }
        Ok(Some(self.node(index)?).filter(|node| node.entry.path == *path))
    }

    /// Up to `limit` chunks from the list's `index` on, each with its place in its file. Blocking.
    pub(crate) fn chunks(&self, of: &Node, from: u64, limit: u64) -> io::Result<Vec<Placed>> {
        let first = of.chunks.start + from;
        let last = of.chunks.end.min(first.saturating_add(limit));
        if first >= last {
            return Ok(Vec::new());
        }
        let mut start = if from == 0 { 0 } else { self.chunk_end(first - 1)? };
        let mut bytes = vec![0; usize::try_from((last - first) * CHUNK_RECORD).map_err(io::Error::other)?];
        self.chunks.read_exact_at(&mut bytes, first * CHUNK_RECORD)?;
        let (records, _) = bytes.as_chunks::<{ CHUNK_RECORD as usize }>();
        Ok(records
            .iter()
            .map(|record| {
                let (id, end) = record.split_at(32);
                let placed = Placed {
                    id: chunk_id(id),
                    start,
                    end: read_u64(end),
                };
                start = placed.end;
                placed
            })
            .collect())
    }

    /// Position among the file's chunks of the one that holds byte `offset`. Blocking.
    pub(crate) fn chunk_at(&self, of: &Node, offset: u64) -> io::Result<u64> {
        let (mut low, mut high) = (of.chunks.start, of.chunks.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.chunk_end(middle)? <= offset {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok(low - of.chunks.start)
    }

    fn chunk_end(&self, index: u64) -> io::Result<u64> {
        debug_assert!(index < self.chunk_count);
        let mut bytes = [0; 8];
        self.chunks.read_exact_at(&mut bytes, index * CHUNK_RECORD + 32)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn chunk_id(bytes: &[u8]) -> ChunkId {
    ChunkId::from_bytes(bytes.try_into().unwrap_or_default())
}

/// A file that nobody else can open and that is gone when it is closed.
fn unnamed_file(dir: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(File::from(fd)),
        // Not every file system has such files: a named one is unlinked at once.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            let path = unused_name(dir);
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn unused_name(dir: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    dir.join(format!(
        ".list-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Metadata;

    fn path(text: &str) -> TreePath {
        text.parse().unwrap()
    }

    fn entry(at: &str, kind: EntryKind) -> Record {
        Record::Entry(Entry {
            path: path(at),
            kind,
            metadata: Metadata::default(),
            identity: None,
        })
    }

    fn spool() -> Spool {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::new(dir.path()).unwrap();
        writer.push(entry("d", EntryKind::Directory)).unwrap();
        for name in 0..50_u8 {
            let chunks = (0..name)
                .map(|n| ChunkRef {
                    id: ChunkId::from_bytes([n; 32]),
                    len: 10,
                })
                .collect::<Vec<_>>();
            writer
                .push(entry(
                    &format!("d/{name:02}"),
                    EntryKind::File {
                        len: 10 * u64::from(name),
                    },
                ))
                .unwrap();
            for part in chunks.chunks(7) {
                writer.push(Record::Chunks(part.to_vec())).unwrap();
            }
            writer
                .push(Record::End(ContentHash::from_bytes([name; 32])))
                .unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn nodes_are_found_by_path() {
        let spool = spool();
        assert_eq!(spool.len(), 51);
        let node = spool.find(&path("d/17")).unwrap().unwrap();
        assert_eq!(node.hash, Some(ContentHash::from_bytes([17; 32])));
        assert_eq!(node.entry.file_len(), Some(170));
        assert_eq!(spool.find(&path("d/99")).unwrap(), None);
        assert_eq!(spool.find(&path("d")).unwrap().unwrap().hash, None);
    }

    #[test]
    fn chunks_are_found_by_offset() {
        let spool = spool();
        let node = spool.find(&path("d/17")).unwrap().unwrap();
        for (offset, chunk) in [(0, 0), (9, 0), (10, 1), (169, 16), (170, 17)] {
            assert_eq!(spool.chunk_at(&node, offset).unwrap(), chunk, "byte {offset}");
        }
        let placed = spool.chunks(&node, 3, 2).unwrap();
        let spans: Vec<_> = placed
            .iter()
            .map(|p| (p.id.as_bytes()[0], p.start, p.end))
            .collect();
        assert_eq!(spans, [(3, 30, 40), (4, 40, 50)]);
        assert_eq!(spool.chunks(&node, 16, 9).unwrap().len(), 1);
        assert!(
            spool
                .chunks(&spool.find(&path("d/00")).unwrap().unwrap(), 0, 9)
                .unwrap()
                .is_empty()
        );
    }
}
