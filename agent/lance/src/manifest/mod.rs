//! Lance manifests, decoded without linking Lance.
//!
//! # Layout
//! ```text
//! [u32 length, IndexSection]? [u32 length, Transaction]? [u32 length, Manifest]
//! [i64 position of the Manifest's length] [i16 major] [i16 minor] "LANC"
//! ```
//! The format has no checksum, and the bytes come from a live host: every offset and length is checked against
//! the file's size before it is used, and whatever is wrong is an error that says what, never a panic. What a
//! later format adds is either skipped (unknown fields) or makes the manifest *opaque*: reader flags that we do
//! not know, or fragments kept elsewhere. Then the closure cannot be told, and the caller takes everything.

mod error;
mod index;
mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use prost::Message;

pub use error::DecodeError;
pub use index::{Index, IndexFile, IndexKind};
pub(crate) use schema::fingerprint;
pub use schema::{Column, VectorColumn};

use crate::layout;

const MAGIC: &[u8; 4] = b"LANC";
const FOOTER: usize = 16;
/// A file larger than this is not read: no manifest comes near it.
const LARGEST: u64 = 1 << 30;

/// Reader flags with which a manifest still tells its whole closure. Bit 12 moves fragments into a tree; bits
/// from 18 on belong to later formats.
pub const KNOWN_READER_FLAGS: u64 = ((1 << 18) - 1) & !(1 << 12);
/// Reader flag of blobs kept under `_blobs/` or in other base paths.
pub const FLAG_MANAGED_BLOBS: u64 = 1 << 14;

/// Another root that some of a table's files lie under: the table that a branch or clone was made from, or an
/// extra base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath {
    /// Id by which files refer to it.
    pub id: u32,
    /// Its alias, or the tag that a clone was made from.
    pub name: Option<String>,
    /// Whether files lie in a table's sub-folders (`data/`, `_deletions/`), or directly under the path.
    pub is_dataset_root: bool,
    /// The path or URI as its creator spelled it.
    pub path: String,
}

/// One file of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path below the base's data folder.
    pub path: String,
    /// Size as recorded; `None` where the writer did not know it.
    pub size: Option<u64>,
    /// Base path that the file lies under; `None` for the table itself.
    pub base: Option<u32>,
}

/// A file that lists deleted rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionFile {
    /// Its name under `_deletions/`.
    pub name: String,
    /// Deleted rows; 0 where an old writer did not record it.
    pub rows: u64,
    /// Base path that the file lies under; `None` for the table itself.
    pub base: Option<u32>,
}

/// A run of rows and the files that hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Id, unique within the table.
    pub id: u64,
    /// Files with its columns, overlays included.
    pub files: Vec<DataFile>,
    /// Its deletion file.
    pub deletion: Option<DeletionFile>,
    /// Rows, deleted ones included.
    pub physical_rows: u64,
}

/// What wrote a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The library, `lance`.
    pub library: String,
    /// Its version.
    pub version: String,
}

/// Why a manifest does not tell its whole closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opaque {
    /// Reader flags that we do not know; the bits.
    UnknownFlags(u64),
    /// Fragments are kept in a tree of their own.
    FragmentTree,
}

/// One version of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The version.
    pub version: u64,
    /// When it was made, by its writer's clock.
    pub timestamp: Option<Timestamp>,
    /// Columns, nested ones included.
    pub columns: Vec<Column>,
    /// Fragments.
    pub fragments: Vec<Fragment>,
    /// Indices, one entry per segment.
    pub indices: Vec<Index>,
    /// Other roots that files lie under.
    pub base_paths: Vec<BasePath>,
    /// The branch, `None` for the main line.
    pub branch: Option<String>,
    /// Name of the transaction file under `_transactions/`.
    pub transaction_file: Option<String>,
    /// What wrote it.
    pub writer: Option<Writer>,
    /// Format version of new data files.
    pub data_format: Option<String>,
    /// Flags that a reader must know.
    pub reader_flags: u64,
    /// Flags that a writer must know.
    pub writer_flags: u64,
    /// Schema metadata as the application set it.
    pub schema_metadata: BTreeMap<String, Vec<u8>>,
    fragment_tree: bool,
}

impl Manifest {
    /// Decodes a manifest file.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let message = manifest_message(bytes)?;
        let decoded = wire::Manifest::decode(message).map_err(|error| invalid("the manifest", &error))?;
        let indices = match decoded.index_section {
            Some(at) => index::decode_section(section(bytes, "the index section", at)?)?,
            None => Vec::new(),
        };
        Self::from_wire(decoded, indices)
    }

    /// Reads and decodes a manifest file. The outer error is the system's, the inner one is about the bytes. A
    /// file that is cut short meanwhile comes out short, which decoding refuses.
    pub(crate) fn read(file: &File, len: u64) -> io::Result<Result<Self, DecodeError>> {
        if len > LARGEST {
            return Ok(Err(DecodeError::TooLarge { len }));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let mut at = 0;
        while at < bytes.len() {
            match file.read_at(&mut bytes[at..], at as u64)? {
                0 => bytes.truncate(at),
                read => at += read,
            }
        }
        Ok(Self::decode(&bytes))
    }

    fn from_wire(message: wire::Manifest, indices: Vec<Index>) -> Result<Self, DecodeError> {
        let timestamp = message
            .timestamp
            .and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
        let writer = message.writer_version.map(|writer| Writer {
            library: writer.library,
            version: match writer.prerelease {
                Some(prerelease) => format!("{}-{prerelease}", writer.version),
                None => writer.version,
            },
        });
        let manifest = Self {
            version: message.version,
            timestamp,
            columns: schema::columns(&message.fields),
            fragments: message.fragments.into_iter().map(fragment).collect(),
            indices,
            base_paths: message.base_paths.into_iter().map(base_path).collect(),
            branch: message.branch,
            transaction_file: Some(message.transaction_file).filter(|name| !name.is_empty()),
            writer,
            data_format: message.data_format.map(|format| format.version),
            reader_flags: message.reader_feature_flags,
            writer_flags: message.writer_feature_flags,
            schema_metadata: message.schema_metadata.into_iter().collect(),
            fragment_tree: message.fragment_tree.is_some(),
        };
        manifest.check_paths()?;
        Ok(manifest)
    }

    /// Every path must stay inside its root, and every base id must be listed.
    fn check_paths(&self) -> Result<(), DecodeError> {
        let data = self
            .fragments
            .iter()
            .flat_map(|fragment| &fragment.files)
            .map(|file| (&file.path, file.base));
        let index_files = self
            .indices
            .iter()
            .flat_map(|index| index.files.iter().map(|file| (&file.path, index.base)));
        let transaction = self.transaction_file.iter().map(|name| (name, None));
        for (path, base) in data.chain(index_files).chain(transaction) {
            if !layout::is_safe_relative(path) {
                return Err(DecodeError::UnsafePath { path: path.clone() });
            }
            self.check_base(base)?;
        }
        let deletions = self
            .fragments
            .iter()
            .filter_map(|fragment| fragment.deletion.as_ref());
        deletions
            .map(|file| file.base)
            .chain(self.indices.iter().map(|index| index.base))
            .try_for_each(|base| self.check_base(base))
    }

    fn check_base(&self, id: Option<u32>) -> Result<(), DecodeError> {
        match id {
            Some(id) if self.base(id).is_none() => Err(DecodeError::UnknownBase { id }),
            _ => Ok(()),
        }
    }

    /// The base path with an id.
    pub fn base(&self, id: u32) -> Option<&BasePath> {
        self.base_paths.iter().find(|base| base.id == id)
    }

    /// Why the closure cannot be told, if so.
    pub fn opaque(&self) -> Option<Opaque> {
        let unknown = self.reader_flags & !KNOWN_READER_FLAGS;
        if self.fragment_tree {
            return Some(Opaque::FragmentTree);
        }
        (unknown != 0).then_some(Opaque::UnknownFlags(unknown))
    }

    /// Live rows; `None` where an old writer left counts out.
    pub fn rows(&self) -> Option<u64> {
        self.fragments.iter().try_fold(0_u64, |sum, fragment| {
            let unknown = fragment.physical_rows == 0 && !fragment.files.is_empty();
            let deleted = fragment
                .deletion
                .as_ref()
                .map_or(Some(0), |file| Some(file.rows).filter(|rows| *rows > 0));
            let live = fragment.physical_rows.checked_sub(deleted?)?;
            if unknown { None } else { sum.checked_add(live) }
        })
    }

    /// Rows that deletion files mask.
    pub fn deleted_rows(&self) -> u64 {
        let deletions = self
            .fragments
            .iter()
            .filter_map(|fragment| fragment.deletion.as_ref());
        deletions.fold(0, |sum, file| sum.saturating_add(file.rows))
    }
}

/// The bytes of the Manifest message.
fn manifest_message(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let at = manifest_position(bytes)?;
    let body = bytes.len() - FOOTER;
    let message = section(bytes, "the manifest", at)?;
    let found = (body as u64).saturating_sub(at.saturating_add(4));
    if message.len() as u64 != found {
        return Err(DecodeError::LengthMismatch {
            recorded: message.len() as u64,
            found,
        });
    }
    Ok(message)
}

/// Offset of the Manifest message's length, from the footer.
pub(crate) fn manifest_position(bytes: &[u8]) -> Result<u64, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let Some(footer) = bytes.last_chunk::<FOOTER>() else {
        return Err(DecodeError::TooShort { len: bytes.len() });
    };
    if !footer.ends_with(MAGIC) {
        return Err(DecodeError::NoMagic);
    }
    let position = footer
        .first_chunk::<8>()
        .map_or(0, |raw| i64::from_le_bytes(*raw));
    u64::try_from(position).map_err(|_| DecodeError::OutOfBounds {
        what: "the manifest",
        at: position as u64,
        len: 0,
    })
}

/// A length-prefixed part of the file, which must end before the footer.
fn section<'a>(bytes: &'a [u8], what: &'static str, at: u64) -> Result<&'a [u8], DecodeError> {
    let body = &bytes[..bytes.len().saturating_sub(FOOTER)];
    let outside = |len: u64| DecodeError::OutOfBounds { what, at, len };
    let start = usize::try_from(at).map_err(|_| outside(0))?;
    let rest = body.get(start..).ok_or_else(|| outside(0))?;
    let (prefix, rest) = rest.split_first_chunk::<4>().ok_or_else(|| outside(0))?;
    let len = u32::from_le_bytes(*prefix);
    rest.get(..len as usize).ok_or_else(|| outside(u64::from(len)))
}

fn invalid(what: &'static str, error: &prost::DecodeError) -> DecodeError {
    DecodeError::Invalid {
        what,
        reason: error.to_string(),
    }
}

fn fragment(message: wire::Fragment) -> Fragment {
    let deletion = message.deletion_file.map(|file| DeletionFile {
        name: format!(
            "{}-{}-{}.{}",
            message.id,
            file.read_version,
            file.id,
            if file.file_type == 1 { "bin" } else { "arrow" }
        ),
        rows: file.num_deleted_rows,
        base: file.base_id,
    });
    let overlays = message
        .overlays
        .into_iter()
        .filter_map(|overlay| overlay.data_file);
    Fragment {
        id: message.id,
        files: message.files.into_iter().chain(overlays).map(data_file).collect(),
        deletion,
        physical_rows: message.physical_rows,
    }
}

fn data_file(message: wire::DataFile) -> DataFile {
    DataFile {
        path: message.path,
        size: Some(message.file_size_bytes).filter(|size| *size > 0),
        base: message.base_id,
    }
}

fn base_path(message: wire::BasePath) -> BasePath {
    BasePath {
        id: message.id,
        name: message.name,
        is_dataset_root: message.is_dataset_root,
        path: message.path,
    }
}
