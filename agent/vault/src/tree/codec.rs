//! Records to bytes and back. The wire form is Protocol Buffers, each record preceded by its length as a varint.

use prost::Message;

use super::{
    ChunkRef, ContentHash, Entry, EntryKind, Identity, Invalid, MAX_XATTRS, Metadata, Record, TreePath, Xattr,
};
use crate::ChunkId;

/// Most chunks named by one record: what is held of a file of any size.
pub const MAX_CHUNKS: usize = 4096;
/// Largest record that is taken: attributes at their bound, with room for path and target.
pub const MAX_RECORD: usize = MAX_XATTRS + (64 << 10);
/// Largest chunk that a tree may claim.
const MAX_CHUNK_LEN: u32 = 16 << 20;

/// Why a stream of bytes is not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not decodable.
    #[error("the file list can not be decoded: {0}")]
    Encoding(String),
    /// A path that could lead elsewhere.
    #[error("the file list has a hostile path: {0}")]
    Path(#[from] Invalid),
    /// Records that contradict each other.
    #[error("the file list contradicts itself at {path}: {reason}")]
    Contradiction {
        /// The entry.
        path: TreePath,
        /// What does not fit.
        reason: &'static str,
    },
    /// Ends inside a record or a file.
    #[error("the file list ends in the middle of {0}")]
    Truncated(String),
}

#[derive(Clone, PartialEq, Message)]
struct RecordWire {
    #[prost(oneof = "BodyWire", tags = "1, 2, 3")]
    body: Option<BodyWire>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum BodyWire {
    #[prost(message, tag = "1")]
    Entry(EntryWire),
    #[prost(message, tag = "2")]
    Chunks(ChunksWire),
    #[prost(message, tag = "3")]
    End(EndWire),
}

#[derive(Clone, PartialEq, Message)]
struct EntryWire {
    #[prost(bytes = "vec", tag = "1")]
    path: Vec<u8>,
    #[prost(enumeration = "KindWire", tag = "2")]
    kind: i32,
    #[prost(uint64, tag = "3")]
    len: u64,
    #[prost(bytes = "vec", tag = "4")]
    target: Vec<u8>,
    #[prost(uint32, tag = "5")]
    mode: u32,
    #[prost(uint32, tag = "6")]
    uid: u32,
    #[prost(uint32, tag = "7")]
    gid: u32,
    #[prost(sint64, tag = "8")]
    mtime_ns: i64,
    #[prost(message, repeated, tag = "9")]
    xattrs: Vec<XattrWire>,
    #[prost(message, optional, tag = "10")]
    identity: Option<IdentityWire>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum KindWire {
    Unspecified = 0,
    Directory = 1,
    File = 2,
    Symlink = 3,
}

#[derive(Clone, PartialEq, Message)]
struct XattrWire {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct IdentityWire {
    #[prost(uint64, tag = "1")]
    dev: u64,
    #[prost(uint64, tag = "2")]
    inode: u64,
    #[prost(sint64, tag = "3")]
    mtime_ns: i64,
    #[prost(uint64, tag = "4")]
    len: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ChunksWire {
    /// 32 bytes a chunk.
    #[prost(bytes = "vec", tag = "1")]
    ids: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    lens: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct EndWire {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
}

/// Writes records as bytes, and holds them to the rules of a tree: what it wrote, [`Decoder`] reads.
#[derive(Debug, Default)]
pub struct Encoder {
    order: Order,
}

impl Encoder {
    /// An encoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `record` to `out`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the record can not follow those before it.
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.order.admit(record)?;
        let wire = record_to_wire(record);
        if wire.encoded_len() > MAX_RECORD {
            return Err(self.order.contradiction("an entry with too many attributes"));
        }
        // A vector grows: the one error of encoding, a full buffer, can not come.
        wire.encode_length_delimited(out)
            .expect("a vector takes any record");
        Ok(())
    }
}

impl Encoder {
    /// One entry by itself, outside of any stream.
    pub(crate) fn encode_alone(entry: &Entry) -> Result<Vec<u8>, Malformed> {
        let wire = entry_to_wire(entry);
        if wire.encoded_len() > MAX_RECORD {
            let reason = "an entry with too many attributes";
            return Err(Malformed::Contradiction {
                path: entry.path.clone(),
                reason,
            });
        }
        Ok(wire.encode_to_vec())
    }
}

fn record_to_wire(record: &Record) -> RecordWire {
    let body = match record {
        Record::Entry(entry) => BodyWire::Entry(entry_to_wire(entry)),
        Record::Chunks(chunks) => BodyWire::Chunks(ChunksWire {
            ids: chunks.iter().flat_map(|chunk| *chunk.id.as_bytes()).collect(),
            lens: chunks.iter().map(|chunk| chunk.len).collect(),
        }),
        Record::End(hash) => BodyWire::End(EndWire {
            hash: hash.as_bytes().to_vec(),
        }),
    };
    RecordWire { body: Some(body) }
}

fn entry_to_wire(entry: &Entry) -> EntryWire {
    let Entry {
        path,
        kind,
        metadata,
        identity,
    } = entry;
    let Metadata {
        mode,
        uid,
        gid,
        mtime_ns,
        xattrs,
    } = metadata;
    let (kind, len, target) = match kind {
        EntryKind::Directory => (KindWire::Directory, 0, Vec::new()),
        EntryKind::File { len } => (KindWire::File, *len, Vec::new()),
        EntryKind::Symlink { target } => (KindWire::Symlink, 0, target.clone()),
    };
    EntryWire {
        path: path.as_bytes().to_vec(),
        kind: kind.into(),
        len,
        target,
        mode: *mode,
        uid: *uid,
        gid: *gid,
        mtime_ns: *mtime_ns,
        xattrs: xattrs
            .iter()
            .map(|x| XattrWire {
                name: x.name.clone(),
                value: x.value.clone(),
            })
            .collect(),
        identity: identity.map(
            |Identity {
                 dev,
                 inode,
                 mtime_ns,
                 len,
             }| IdentityWire {
                dev,
                inode,
                mtime_ns,
                len,
            },
        ),
    }
}

fn entry_from_wire(wire: EntryWire) -> Result<Entry, Malformed> {
    let path = TreePath::new(&wire.path)?;
    let contradiction = |reason| Malformed::Contradiction {
        path: path.clone(),
        reason,
    };
    let kind = match KindWire::try_from(wire.kind) {
        Ok(KindWire::Directory) => EntryKind::Directory,
        Ok(KindWire::File) => EntryKind::File { len: wire.len },
        Ok(KindWire::Symlink) if wire.target.is_empty() || wire.target.len() > super::MAX_PATH => {
            return Err(contradiction("a link with an empty or overlong target"));
        }
        Ok(KindWire::Symlink) if wire.target.contains(&0) => {
            return Err(contradiction("a link whose target has a NUL byte"));
        }
        Ok(KindWire::Symlink) => EntryKind::Symlink { target: wire.target },
        Ok(KindWire::Unspecified) | Err(_) => return Err(contradiction("an unknown kind of entry")),
    };
    if path.is_root() && kind != EntryKind::Directory {
        return Err(contradiction("the root is no directory"));
    }
    if wire
        .xattrs
        .iter()
        .any(|x| x.name.is_empty() || x.name.contains(&0))
    {
        return Err(contradiction("an attribute without a proper name"));
    }
    let identity = wire.identity.map(
        |IdentityWire {
             dev,
             inode,
             mtime_ns,
             len,
         }| Identity {
            dev,
            inode,
            mtime_ns,
            len,
        },
    );
    let xattrs = wire
        .xattrs
        .into_iter()
        .map(|x| Xattr {
            name: x.name,
            value: x.value,
        })
        .collect();
    let metadata = Metadata {
        mode: wire.mode,
        uid: wire.uid,
        gid: wire.gid,
        mtime_ns: wire.mtime_ns,
        xattrs,
    };
    Ok(Entry {
        path,
        kind,
        metadata,
        identity,
    })
}

fn chunks_from_wire(wire: &ChunksWire, path: &TreePath) -> Result<Vec<ChunkRef>, Malformed> {
    let contradiction = |reason| Malformed::Contradiction {
        path: path.clone(),
        reason,
    };
    let (ids, rest) = wire.ids.as_chunks::<32>();
    if !rest.is_empty() || ids.len() != wire.lens.len() || ids.is_empty() || ids.len() > MAX_CHUNKS {
        return Err(contradiction(
            "a record of chunks whose ids and lengths do not match",
        ));
    }
    if wire.lens.iter().any(|len| *len == 0 || *len > MAX_CHUNK_LEN) {
        return Err(contradiction("a chunk of impossible length"));
    }
    Ok(ids
        .iter()
        .zip(&wire.lens)
        .map(|(id, len)| ChunkRef {
            id: ChunkId::from_bytes(*id),
            len: *len,
        })
        .collect())
}

/// Reads records from bytes that arrive piece by piece, and holds them to the rules of a tree.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    consumed: usize,
    order: Order,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// What [`Encoder::encode_alone`] has written.
    pub(crate) fn decode_alone(bytes: &[u8]) -> Result<Entry, Malformed> {
        entry_from_wire(EntryWire::decode(bytes).map_err(|error| Malformed::Encoding(error.to_string()))?)
    }

    /// Appends the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record; `None` when more bytes are needed.
    pub fn next_record(&mut self) -> Result<Option<Record>, Malformed> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let Some((len, prefix)) = read_length(rest)? else {
            return Ok(None);
        };
        let Some(body) = rest.get(prefix..prefix + len) else {
            return Ok(None);
        };
        let wire = RecordWire::decode(body).map_err(|error| Malformed::Encoding(error.to_string()))?;
        let record = self.order.decode(wire)?;
        self.order.admit(&record)?;
        self.consumed += prefix + len;
        Ok(Some(record))
    }

    /// States that the stream has ended; an unfinished record or file is an error.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.consumed < self.buffer.len() {
            return Err(Malformed::Truncated(format!(
                "the record after {}",
                self.order.last
            )));
        }
        match &self.order.open {
            Some(_) => Err(Malformed::Truncated(self.order.last.to_string())),
            None => Ok(()),
        }
    }
}

/// The length prefix and its own size, if all of it is there.
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut len = 0_u64;
    for (position, byte) in bytes.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > MAX_RECORD {
                return Err(Malformed::Encoding(format!("a record of {len} bytes")));
            }
            return Ok(Some((len, position + 1)));
        }
    }
    if bytes.len() >= 5 {
        Err(Malformed::Encoding("an endless length".to_owned()))
    } else {
        Ok(None)
    }
}

/// What has been seen of a stream: enough to tell whether the next record may follow.
#[derive(Debug, Default)]
struct Order {
    begun: bool,
    last: TreePath,
    /// The directories from the top down to the last entry's place.
    directories: Vec<TreePath>,
    /// Bytes still missing from the file that is open.
    open: Option<u64>,
}

impl Order {
    fn decode(&self, wire: RecordWire) -> Result<Record, Malformed> {
        match wire.body {
            Some(BodyWire::Entry(entry)) => Ok(Record::Entry(entry_from_wire(entry)?)),
            Some(BodyWire::Chunks(chunks)) => Ok(Record::Chunks(chunks_from_wire(&chunks, &self.last)?)),
            Some(BodyWire::End(end)) => {
                let hash = end
                    .hash
                    .try_into()
                    .map_err(|_| self.contradiction("a hash of the wrong size"))?;
                Ok(Record::End(ContentHash::from_bytes(hash)))
            }
            None => Err(Malformed::Encoding("a record of unknown kind".to_owned())),
        }
    }

    fn admit(&mut self, record: &Record) -> Result<(), Malformed> {
        match record {
            Record::Entry(entry) => self.admit_entry(entry),
            Record::Chunks(chunks) => {
                let len = chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
                let missing = self
                    .open
                    .ok_or_else(|| self.contradiction("chunks of what is no file"))?;
                let left = missing
                    .checked_sub(len)
                    .ok_or_else(|| self.contradiction("more chunks than bytes"))?;
                self.open = Some(left);
                Ok(())
            }
            Record::End(_) => match self.open.take() {
                Some(0) => Ok(()),
                Some(_) => Err(self.contradiction("fewer chunks than bytes")),
                None => Err(self.contradiction("the end of what is no file")),
            },
        }
    }

    fn admit_entry(&mut self, entry: &Entry) -> Result<(), Malformed> {
        if self.open.is_some() {
            return Err(self.contradiction("a file without its end"));
        }
        if self.begun && entry.path <= self.last {
            self.last = entry.path.clone();
            return Err(self.contradiction("an entry out of order"));
        }
        self.begun = true;
        self.last = entry.path.clone();
        if let Some(parent) = entry.path.parent() {
            while self
                .directories
                .last()
                .is_some_and(|open| *open != parent && !parent.is_within(open))
            {
                self.directories.pop();
            }
            if !parent.is_root() && self.directories.last() != Some(&parent) {
                return Err(self.contradiction("its parent is no directory of this list"));
            }
        }
        match &entry.kind {
            EntryKind::Directory => self.directories.push(entry.path.clone()),
            EntryKind::File { len } => self.open = Some(*len),
            EntryKind::Symlink { .. } => {}
        }
        Ok(())
    }

    fn contradiction(&self, reason: &'static str) -> Malformed {
        Malformed::Contradiction {
            path: self.last.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
