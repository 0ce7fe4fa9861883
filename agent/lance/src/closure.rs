//! What one version of a table needs on disk.

use crate::layout::{DATA, DELETIONS, INDICES, TRANSACTIONS};
use crate::manifest::{BasePath, Manifest};
use crate::report::Problem;

/// A file that a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Base path that the file lies under; `None` for the table's own folder.
    pub base: Option<u32>,
    /// Path below that root.
    pub path: String,
    /// Size as recorded; `None` where the writer did not know it.
    pub size: Option<u64>,
    /// Whether the version is broken without it. Transaction files are history only.
    pub required: bool,
}

impl Reference {
    /// What is wrong with the file, given its length on disk, `None` if it is not there.
    pub(crate) fn problem(&self, len: Option<u64>) -> Option<Problem> {
        match (len, self.size) {
            (None, _) => self.required.then_some(Problem::Missing),
            (Some(0), _) => self.required.then_some(Problem::Empty),
            (Some(found), Some(recorded)) if found != recorded => Some(Problem::Size { recorded, found }),
            _ => None,
        }
    }
}

/// A folder whose every file belongs to the closure, because the manifest does not list them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// Base path that the folder lies under; `None` for the table's own folder.
    pub base: Option<u32>,
    /// Path below that root.
    pub path: String,
    /// Whether the version is broken if the folder is missing or empty.
    pub required: bool,
}

/// Everything that one manifest refers to by name. Blob sidecars and other folders that manifests do not name
/// are added by the collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure {
    /// Files, sorted and without repeats.
    pub files: Vec<Reference>,
    /// Folders to be taken whole, sorted and without repeats.
    pub folders: Vec<Folder>,
}

impl Closure {
    /// The closure of one version.
    pub fn of(manifest: &Manifest) -> Self {
        let mut closure = Self::default();
        closure.add_fragments(manifest);
        closure.add_indices(manifest);
        if let Some(name) = &manifest.transaction_file {
            let path = format!("{TRANSACTIONS}/{name}");
            closure.files.push(Reference {
                base: None,
                path,
                size: None,
                required: false,
            });
        }
        closure.files.sort_unstable();
        closure.files.dedup();
        closure.folders.sort_unstable();
        closure.folders.dedup();
        closure
    }

    fn add_fragments(&mut self, manifest: &Manifest) {
        for fragment in &manifest.fragments {
            for file in &fragment.files {
                let path = data_path(file.base.and_then(|id| manifest.base(id)), &file.path);
                self.files.push(Reference {
                    base: file.base,
                    path,
                    size: file.size,
                    required: true,
                });
            }
            if let Some(file) = &fragment.deletion {
                let path = format!("{DELETIONS}/{}", file.name);
                self.files.push(Reference {
                    base: file.base,
                    path,
                    size: None,
                    required: true,
                });
            }
        }
    }

    fn add_indices(&mut self, manifest: &Manifest) {
        for index in &manifest.indices {
            let folder = format!("{INDICES}/{}", index.uuid);
            if index.files.is_empty() {
                self.folders.push(Folder {
                    base: index.base,
                    path: folder,
                    required: !index.may_lack_files(),
                });
                continue;
            }
            self.files.extend(index.files.iter().map(|file| Reference {
                base: index.base,
                path: format!("{folder}/{}", file.path),
                size: file.size,
                required: true,
            }));
        }
    }
}

/// A base that is no table of its own holds data files directly.
fn data_path(base: Option<&BasePath>, path: &str) -> String {
    match base {
        Some(base) if !base.is_dataset_root => path.to_owned(),
        _ => format!("{DATA}/{path}"),
    }
}
