//! Names inside a Lance table's folder, and what each promises.
//!
//! # Layout
//! ```text
//! <db>/<table>.lance/
//!   _versions/{u64::MAX - v:020}.manifest   version v (newer naming), `{v}.manifest` (older), `d{v}.manifest` (detached)
//!   _versions/latest_version_hint.json      a hint that readers may lack; left out of snapshots
//!   data/  _deletions/  _indices/{uuid}/  _transactions/  _blobs/  _fri/  _computed/     write-once
//!   _refs/tags/  _refs/branches/            replaced by rename
//!   tree/{branch}/                          a branch: a table folder of its own
//!   _mem_wal/                               the log-structured tier in front of the table
//! ```

use uuid::Uuid;

/// Folder of a table's manifests. A folder that has it is a table.
pub const VERSIONS: &str = "_versions";
/// Folder of data files and blob sidecars.
pub const DATA: &str = "data";
/// Folder of deletion files.
pub const DELETIONS: &str = "_deletions";
/// Folder of indices.
pub const INDICES: &str = "_indices";
/// Folder of transaction files.
pub const TRANSACTIONS: &str = "_transactions";
/// Folder of tags and branch records.
pub const REFS: &str = "_refs";
/// Folder of branches.
pub const TREE: &str = "tree";
/// Folder of managed blobs.
pub const BLOBS: &str = "_blobs";
/// Folder of fragment-reuse row maps.
pub const FRAGMENT_REUSE: &str = "_fri";
/// Folder of computed-column signatures.
pub const COMPUTED: &str = "_computed";
/// Folder of the memory write-ahead log.
pub const MEM_WAL: &str = "_mem_wal";
/// The optional hint beside the manifests.
pub const VERSION_HINT: &str = "latest_version_hint.json";
/// Suffix of table folders in the root namespace.
pub const TABLE_SUFFIX: &str = ".lance";
/// Folders under `_indices` that old Python releases filled with tantivy segments.
pub const LEGACY_FULL_TEXT: [&str; 2] = ["fts", "tantivy"];
/// A copy of the newest manifest that the first releases of Lance kept; later ones ignore it.
pub const LEGACY_LATEST: &str = "_latest.manifest";
/// Every folder name that Lance is known to put directly into a table's folder.
pub const KNOWN: [&str; 11] = [
    VERSIONS,
    DATA,
    DELETIONS,
    INDICES,
    TRANSACTIONS,
    REFS,
    TREE,
    BLOBS,
    FRAGMENT_REUSE,
    COMPUTED,
    MEM_WAL,
];

/// The name of a manifest file, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestName {
    /// `{v}.manifest`.
    V1(u64),
    /// `{u64::MAX - v:020}.manifest`, so that a listing shows the newest first.
    V2(u64),
    /// `d{v}.manifest`: a version outside the line of versions.
    Detached(u64),
}

impl ManifestName {
    /// Reads a file name; `None` for anything that is not a published manifest.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".manifest")?;
        if let Some(detached) = stem.strip_prefix('d') {
            return decimal(detached).map(Self::Detached);
        }
        let number = decimal(stem)?;
        Some(if stem.len() == 20 {
            Self::V2(u64::MAX - number)
        } else {
            Self::V1(number)
        })
    }

    /// The version that the file holds.
    pub fn version(self) -> u64 {
        match self {
            Self::V1(version) | Self::V2(version) | Self::Detached(version) => version,
        }
    }

    /// Whether the version lies outside the table's line of versions.
    pub fn is_detached(self) -> bool {
        matches!(self, Self::Detached(_))
    }
}

fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Whether a file is one that Lance has not published yet: staged beside its final name and renamed into place.
/// NFS clients rename deleted files that are still open to `.nfs…`.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(".tmp")
        || name.starts_with(".nfs")
        || name.starts_with("lance-marker.staging.")
        || name
            .rsplit_once('#')
            .is_some_and(|(_, serial)| decimal(serial).is_some())
        || name
            .rsplit_once(".tmp.")
            .is_some_and(|(_, id)| Uuid::try_parse(id).is_ok())
        || name
            .rsplit_once(".manifest-")
            .is_some_and(|(_, id)| Uuid::try_parse(id).is_ok())
}

/// Whether a folder is one that our restores make beside what they restore, or inside where that is a mount point:
/// `<name>.restoring-<id>` until it is swapped in, `<name>.displaced-<id>` for what stood there before.
pub fn is_of_a_restore(name: &str) -> bool {
    [".restoring-", ".displaced-"].iter().any(|part| {
        name.rsplit_once(part)
            .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// Whether a file, named relative to its table's folder, can never change or be replaced under the same name.
///
/// Only names that carry a random part qualify: a dropped and re-created table reuses the names of manifests,
/// transaction files aside, so manifests and everything under `_refs` are always read.
pub fn is_immutable(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [DATA, file] => file.strip_suffix(".lance").is_some_and(is_random_stem),
        [DATA, stem, file] => is_random_stem(stem) && file.ends_with(".blob"),
        [BLOBS, file] => file
            .strip_suffix(".blob")
            .is_some_and(|id| Uuid::try_parse(id).is_ok()),
        [DELETIONS, file] => is_deletion_file(file),
        [INDICES, id, _, ..] => is_uuid(id),
        [TRANSACTIONS, file] => transaction_version(file).is_some(),
        _ => false,
    }
}

/// The version that a commit was made upon, by the name of its transaction file; `None` for other names.
pub fn transaction_version(name: &str) -> Option<u64> {
    let (version, id) = name.strip_suffix(".txn")?.split_once('-')?;
    decimal(version).filter(|_| is_uuid(id))
}

/// Data files are named by a UUID, or by 24 binary and 26 hexadecimal digits of one.
fn is_random_stem(stem: &str) -> bool {
    is_uuid(stem) || (stem.len() == 50 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

/// `{fragment}-{version}-{random}.{arrow|bin}`.
fn is_deletion_file(name: &str) -> bool {
    let Some((stem, suffix)) = name.rsplit_once('.') else {
        return false;
    };
    let numbers: Vec<_> = stem.split('-').map(decimal).collect();
    matches!(suffix, "arrow" | "bin") && numbers.len() == 3 && numbers.iter().all(Option::is_some)
}

/// Whether a path out of a manifest stays below the folder it is relative to, in one spelling only.
pub fn is_safe_relative(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The name under which LanceDB knows the table in a folder.
///
/// Root tables drop `.lance`; tables of child namespaces are stored as `{8 hex}_{namespace$table}`.
pub fn table_name(folder: &str) -> &str {
    let last = folder.rsplit('/').next().unwrap_or(folder);
    if let Some(stem) = last.strip_suffix(TABLE_SUFFIX) {
        return stem;
    }
    match last.split_once('_') {
        Some((hash, name))
            if hash.len() == 8 && name.contains('$') && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            name
        }
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_names() {
        assert_eq!(ManifestName::parse("7.manifest"), Some(ManifestName::V1(7)));
        assert_eq!(
            ManifestName::parse("18446744073709551594.manifest"),
            Some(ManifestName::V2(21))
        );
        assert_eq!(
            ManifestName::parse("d9223372036854775809.manifest"),
            Some(ManifestName::Detached(1 << 63 | 1))
        );
        for other in [
            "latest_version_hint.json",
            ".manifest",
            "x7.manifest",
            "7.manifest-0",
            "+7.manifest",
            "7.manifest#1",
        ] {
            assert_eq!(ManifestName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn temporary_names() {
        let id = "0b2f7f0e-6f3c-4f0e-9c57-2b1f0a9d1c11";
        for name in [
            ".tmpAbC",
            "7.manifest#3",
            ".tmp_7.manifest",
            "lance-marker.staging.1",
        ] {
            assert!(is_temporary(name), "{name}");
        }
        assert!(is_temporary(&format!("7.manifest-{id}")));
        assert!(is_temporary(&format!("v1.json.tmp.{}", id.replace('-', ""))));
        for name in ["7.manifest", "index.idx", "a#b", "metadata.lance"] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn immutable_names() {
        let id = "0b2f7f0e-6f3c-4f0e-9c57-2b1f0a9d1c11";
        assert!(is_immutable(
            "data/111000010101110010110100d4332945e5972757ce812de70c.lance"
        ));
        assert!(is_immutable(&format!("data/{id}.lance")));
        assert!(is_immutable("_deletions/8-13-243094362528760572.arrow"));
        assert!(is_immutable(&format!("_indices/{id}/index.idx")));
        assert!(is_immutable(&format!("_transactions/10-{id}.txn")));
        for path in [
            "_versions/1.manifest",
            "_refs/tags/a.json",
            "data/part.lance",
            "_indices/fts/meta.json",
            "_deletions/a.arrow",
        ] {
            assert!(!is_immutable(path), "{path}");
        }
    }

    #[test]
    fn unsafe_paths_are_refused() {
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\0b"] {
            assert!(!is_safe_relative(path), "{path:?}");
        }
        assert!(is_safe_relative("a/b.lance"));
    }

    #[test]
    fn table_names() {
        assert_eq!(table_name("memory.lance"), "memory");
        assert_eq!(table_name("f9840952_ns1$child"), "ns1$child");
        assert_eq!(table_name("__manifest"), "__manifest");
    }
}
