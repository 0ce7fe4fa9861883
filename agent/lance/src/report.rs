//! What a collection or check found, in a form that snapshots and reports carry.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::{ManifestName, VERSIONS};
use crate::manifest::{Column, DecodeError, Index, IndexKind, Manifest, Opaque, VectorColumn};

/// How a table was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Its head's closure, complete.
    Exact,
    /// Every file, walked twice, because the manifest belongs to a format that we do not know.
    Opaque,
    /// The head is damaged: an older version that is whole.
    Fallback,
    /// Nothing whole is left: every file that is there.
    Salvage,
}

/// What is stamped of one table (or branch) at the cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableStamp {
    /// Name under which LanceDB knows it.
    pub name: String,
    /// Folder relative to the database.
    pub path: String,
    /// Branch, `None` for the main line.
    pub branch: Option<String>,
    /// How it was taken.
    pub mode: Mode,
    /// Version that was taken; 0 if none could be read.
    pub version: u64,
    /// The version that its writer considers current, if that is damaged and another was taken.
    pub damaged_head: Option<u64>,
    /// File name of the manifest.
    pub manifest: String,
    /// When the version was made, by its writer's clock.
    pub timestamp: Option<Timestamp>,
    /// Live rows; `None` where the manifest does not tell.
    pub rows: Option<u64>,
    /// Rows masked by deletion files.
    pub deleted_rows: u64,
    /// Fragments.
    pub fragments: u64,
    /// Bytes of the files that the version refers to.
    pub bytes: u64,
    /// Changes when a column is added, dropped, renamed or retyped.
    pub schema_fingerprint: String,
    /// Columns, nested ones included.
    pub columns: Vec<Column>,
    /// Columns of vectors with their length.
    pub vectors: Vec<VectorColumn>,
    /// Indices, one record per segment.
    pub indices: Vec<IndexStamp>,
    /// Library and version that wrote the manifest.
    pub writer_version: Option<String>,
    /// Format version of new data files.
    pub data_format: Option<String>,
    /// Flags that a reader must know.
    pub reader_flags: u64,
    /// Flags that a writer must know.
    pub writer_flags: u64,
    /// Why the table was taken whole instead of by its closure.
    pub opaque: Option<String>,
    /// Tags.
    pub tags: Vec<TagStamp>,
    /// Branches, by name.
    pub branches: Vec<String>,
    /// Other versions that were taken along.
    pub history: Vec<u64>,
    /// Other roots that files of this version lie under, as their creator spelled them.
    pub base_paths: Vec<String>,
}

/// What is stamped of one index segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStamp {
    /// Name of the index.
    pub name: String,
    /// Id of the segment.
    pub uuid: String,
    /// What it is good for.
    #[serde(rename = "type")]
    pub kind: IndexKind,
    /// Columns that it covers, by dotted path.
    pub columns: Vec<String>,
    /// Version that it was built from.
    pub dataset_version: u64,
    /// Parameters, as far as they are told.
    pub parameters: BTreeMap<String, String>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagStamp {
    /// Its name.
    pub name: String,
    /// The version it points to.
    pub version: u64,
    /// The branch it points into, `None` for the main line.
    pub branch: Option<String>,
    /// Whether the version was taken along.
    pub included: bool,
}

impl TableStamp {
    /// A stamp that knows no more than where the table lies.
    pub(crate) fn unread(path: &str, mode: Mode) -> Self {
        let (owner, branch) = split_branch(path);
        Self {
            name: crate::layout::table_name(owner).to_owned(),
            path: path.to_owned(),
            branch: branch.map(str::to_owned),
            mode,
            version: 0,
            damaged_head: None,
            manifest: String::new(),
            timestamp: None,
            rows: None,
            deleted_rows: 0,
            fragments: 0,
            bytes: 0,
            schema_fingerprint: String::new(),
            columns: Vec::new(),
            vectors: Vec::new(),
            indices: Vec::new(),
            writer_version: None,
            data_format: None,
            reader_flags: 0,
            writer_flags: 0,
            opaque: None,
            tags: Vec::new(),
            branches: Vec::new(),
            history: Vec::new(),
            base_paths: Vec::new(),
        }
    }

    /// The stamp of one version.
    pub(crate) fn of(path: &str, mode: Mode, file_name: &str, manifest: &Manifest) -> Self {
        let columns = manifest.columns.clone();
        Self {
            version: manifest.version,
            manifest: file_name.to_owned(),
            timestamp: manifest.timestamp,
            rows: manifest.rows().filter(|_| manifest.opaque().is_none()),
            deleted_rows: manifest.deleted_rows(),
            fragments: manifest.fragments.len() as u64,
            schema_fingerprint: crate::manifest::fingerprint(&columns),
            vectors: columns.iter().filter_map(Column::as_vector).collect(),
            indices: manifest
                .indices
                .iter()
                .map(|index| IndexStamp::of(index, &columns))
                .collect(),
            writer_version: manifest
                .writer
                .as_ref()
                .map(|writer| format!("{} {}", writer.library, writer.version)),
            data_format: manifest.data_format.clone(),
            reader_flags: manifest.reader_flags,
            writer_flags: manifest.writer_flags,
            opaque: manifest.opaque().map(|why| why.to_string()),
            base_paths: manifest.base_paths.iter().map(|base| base.path.clone()).collect(),
            columns,
            ..Self::unread(path, mode)
        }
    }
}

impl IndexStamp {
    fn of(index: &Index, columns: &[Column]) -> Self {
        let name_of = |id: &i32| {
            columns
                .iter()
                .find(|column| column.id == *id)
                .map(|column| column.name.clone())
        };
        Self {
            name: index.name.clone(),
            uuid: index.uuid.to_string(),
            kind: index.kind.clone(),
            columns: index.fields.iter().filter_map(name_of).collect(),
            dataset_version: index.dataset_version,
            parameters: index.parameters.clone(),
        }
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFlags(bits) => write!(
                f,
                "its reader flags {bits:#x} belong to a format newer than this version knows"
            ),
            Self::FragmentTree => {
                f.write_str("its fragments are kept in a tree, a format newer than this version knows")
            }
        }
    }
}

/// Folder of the table and name of the branch, for a table's folder.
pub(crate) fn split_branch(path: &str) -> (&str, Option<&str>) {
    match path.split_once("/tree/") {
        Some((owner, branch)) => (owner, Some(branch)),
        None => (path, None),
    }
}

/// Something that a current version needs and that is not there, or not as recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Damage {
    /// Folder of the table, relative to the database.
    pub table: String,
    /// Version that needs it.
    pub version: u64,
    /// The file, relative to the database.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of version {} of {}: {}",
            self.path, self.version, self.table, self.problem
        )
    }
}

impl Damage {
    /// A manifest that cannot be decoded.
    pub(crate) fn unreadable(table: &str, name: &str, error: &DecodeError) -> Self {
        let problem = match error {
            DecodeError::Empty => Problem::Empty,
            error => Problem::Manifest {
                reason: error.to_string(),
            },
        };
        let version = ManifestName::parse(name).map_or(0, ManifestName::version);
        Self {
            table: table.to_owned(),
            version,
            path: format!("{table}/{VERSIONS}/{name}"),
            problem,
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// It does not exist.
    Missing,
    /// It has no byte: what a power loss leaves of a file that was never flushed.
    Empty,
    /// Its size is not the recorded one.
    Size {
        /// As recorded.
        recorded: u64,
        /// As found.
        found: u64,
    },
    /// A manifest that cannot be decoded.
    Manifest {
        /// Why.
        reason: String,
    },
    /// A tag that cannot be read, so that nobody can tell which version it protects.
    Tag {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Empty => f.write_str("has no byte"),
            Self::Size { recorded, found } => write!(f, "has {found} bytes, {recorded} are recorded"),
            Self::Manifest { reason } | Self::Tag { reason } => write!(f, "cannot be decoded: {reason}"),
        }
    }
}

/// Something in the database folder that the snapshot does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Excluded {
    /// Relative to the database; a folder stands for what is in it.
    pub path: String,
    /// Why it was left out.
    pub reason: Exclusion,
    /// How many files, where that was counted.
    pub files: u64,
}

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exclusion {
    /// Versions older than the head that the configured history does not ask for, with what only they need.
    OlderVersions,
    /// Versions outside the line of versions.
    DetachedVersions,
    /// A hint that readers do without.
    VersionHint,
    /// Files that a writer had not published yet.
    Unpublished,
    /// Symbolic links are not followed.
    SymbolicLink,
    /// A symbolic link that leads to a table outside of the database: LanceDB follows it, a snapshot does not.
    LinkedTable,
    /// Neither a file nor a folder.
    Special,
    /// A table without any manifest: what an interrupted drop left, or what is just being created.
    HalfDropped,
    /// A manifest that cannot be decoded, or whose files are incomplete: a restored table would not open.
    Damaged,
    /// A folder without any table.
    Foreign,
    /// What a restore entry by entry set aside here, or had not swapped in when it was killed.
    OfARestore,
    /// A name that is not UTF-8.
    Unnameable,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OlderVersions => "older versions",
            Self::DetachedVersions => "detached versions",
            Self::VersionHint => "version hint",
            Self::Unpublished => "not published yet",
            Self::SymbolicLink => "symbolic link",
            Self::LinkedTable => {
                "a table behind a symbolic link, which is not followed: mount it there, or make where it leads to a source"
            }
            Self::Special => "neither file nor folder",
            Self::HalfDropped => "no manifest: half-dropped or being created",
            Self::Damaged => "damaged version",
            Self::Foreign => "no table in it",
            Self::OfARestore => "left here by a restore; look at it, then remove it",
            Self::Unnameable => "name is not UTF-8",
        })
    }
}

/// Files of a table that lie outside the database folder and are therefore not in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalBase {
    /// Folder of the table, relative to the database.
    pub table: String,
    /// The other root, as its creator spelled it.
    pub path: String,
    /// Files that the table needs from there.
    pub files: u64,
}
