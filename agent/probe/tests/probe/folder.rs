//! A file tree over a plain folder, with faults on request.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dr_probe_wire::tree::{FileStat, FileTree, Listed, TreeError};

/// The folder's files, and what shall be answered instead of the bytes of some.
pub(crate) struct Folder {
    root: PathBuf,
    files: BTreeMap<String, u64>,
    pub(crate) refuse: BTreeMap<String, TreeError>,
    /// Other bytes than the file's.
    pub(crate) patches: BTreeMap<String, Vec<u8>>,
    /// The files of which something was read.
    pub(crate) read: Arc<Mutex<BTreeSet<String>>>,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        walk(root, "", &mut files);
        Self {
            root: root.to_owned(),
            files,
            refuse: BTreeMap::new(),
            patches: BTreeMap::new(),
            read: Arc::default(),
        }
    }

    /// Takes a file away.
    pub(crate) fn remove(&mut self, path: &str) {
        self.files.remove(path).unwrap();
    }

    /// Gives a file other bytes.
    pub(crate) fn patch(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.root.join(path)).unwrap();
        change(&mut bytes);
        self.files.insert(path.to_owned(), bytes.len() as u64);
        self.patches.insert(path.to_owned(), bytes);
    }

    /// The first file whose path holds all these parts.
    pub(crate) fn matching(&self, parts: &[&str]) -> Option<String> {
        self.files()
            .find(|path| parts.iter().all(|part| path.contains(part)))
            .cloned()
    }

    /// The same, where there must be one.
    pub(crate) fn find(&self, parts: &[&str]) -> String {
        self.matching(parts)
            .unwrap_or_else(|| panic!("no file like {parts:?}"))
    }

    /// All such files, the largest first.
    pub(crate) fn by_size(&self, part: &str) -> Vec<String> {
        let mut alike: Vec<_> = self
            .files
            .iter()
            .filter(|(path, _)| path.contains(part))
            .collect();
        alike.sort_by_key(|(_, len)| std::cmp::Reverse(**len));
        alike.into_iter().map(|(path, _)| path.clone()).collect()
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
    }
}

fn walk(root: &Path, path: &str, files: &mut BTreeMap<String, u64>) {
    for entry in std::fs::read_dir(root.join(path)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let below = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        if entry.file_type().unwrap().is_dir() {
            walk(root, &below, files);
        } else {
            files.insert(below, entry.metadata().unwrap().len());
        }
    }
}

fn etag(path: &str, len: u64) -> String {
    format!("{path}-{len}")
}

#[async_trait::async_trait]
impl FileTree for Folder {
    async fn stat(&self, path: &str) -> Result<Option<FileStat>, TreeError> {
        Ok(self.files.get(path).map(|len| FileStat {
            len: *len,
            etag: etag(path, *len),
        }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, TreeError> {
        let start = after.map_or(prefix, |after| after.max(prefix));
        let found = self
            .files
            .range(start.to_owned()..)
            .take_while(|(path, _)| path.starts_with(prefix));
        let found = found.filter(|(path, _)| after.is_none_or(|after| path.as_str() > after));
        let listed = found.map(|(path, len)| Listed {
            path: path.clone(),
            len: *len,
            etag: etag(path, *len),
        });
        Ok(listed.take(limit).collect())
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, TreeError> {
        self.read.lock().unwrap().insert(path.to_owned());
        if let Some(refusal) = self.refuse.get(path) {
            return Err(refusal.clone());
        }
        if let Some(patch) = self.patches.get(path) {
            let (start, end) = (range.start as usize, range.end as usize);
            let bytes = patch
                .get(start..end)
                .ok_or_else(|| TreeError::Damaged("it is shorter".to_owned()))?;
            return Ok(Bytes::copy_from_slice(bytes));
        }
        if !self.files.contains_key(path) {
            return Err(TreeError::NotFound);
        }
        let file = std::fs::File::open(self.root.join(path)).map_err(|_| TreeError::NotFound)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|error| TreeError::Unavailable(error.to_string()))?;
        Ok(bytes.into())
    }
}
