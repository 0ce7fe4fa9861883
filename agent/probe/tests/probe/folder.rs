//! A file tree over a plain folder, with faults on request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dr_probe_wire::tree::{FileStat, FileTree, Listed, TreeError};

/// The folder's files, and what shall be answered instead of the bytes of some.
pub(crate) struct Folder {
    root: PathBuf,
    files: BTreeMap<String, u64>,
    pub(crate) refuse: BTreeMap<String, TreeError>,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        walk(root, "", &mut files);
        Self {
            root: root.to_owned(),
            files,
            refuse: BTreeMap::new(),
        }
    }

    /// The first file whose path holds all these parts.
    pub(crate) fn find(&self, parts: &[&str]) -> String {
        let found = self
            .files
            .keys()
            .find(|path| parts.iter().all(|part| path.contains(part)));
        found.unwrap_or_else(|| panic!("no file like {parts:?}")).clone()
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
        if let Some(refusal) = self.refuse.get(path) {
            return Err(refusal.clone());
        }
        let file = std::fs::File::open(self.root.join(path)).map_err(|_| TreeError::NotFound)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)
            .map_err(|error| TreeError::Unavailable(error.to_string()))?;
        Ok(bytes.into())
    }
}
