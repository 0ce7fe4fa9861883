//! Documents of results, one file each, named by what is in them: they would make the journal large, and memory too.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// The largest document that travels.
pub const LARGEST: usize = 4 << 20;

const UNFINISHED: &str = ".new";

/// A document's name: BLAKE3 of its bytes, hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocumentId(String);

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DocumentId {
    fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}

/// The folder of documents.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    root: PathBuf,
}

impl Documents {
    pub(super) fn open(root: PathBuf) -> Result<Self, Error> {
        crate::state::private_dir(&root)?;
        Ok(Self { root })
    }

    fn path(&self, id: &DocumentId) -> PathBuf {
        self.root.join(&id.0)
    }

    /// Keeps a document; when this returns it survives a crash.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<DocumentId, Error> {
        let id = DocumentId::of(bytes);
        let path = self.path(&id);
        let unfinished = path.with_extension(&UNFINISHED[1..]);
        let write = || -> io::Result<()> {
            let mut file = File::create(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(Error::file("write the document", &path))?;
        Ok(id)
    }

    /// Reads one, and proves that it is the one that was kept.
    pub(super) fn get(&self, id: &DocumentId) -> Result<Vec<u8>, Error> {
        let path = self.path(id);
        let mut bytes = Vec::new();
        let mut file = File::open(&path).map_err(Error::file("open the document", &path))?;
        let limit = LARGEST as u64 + 1;
        Read::by_ref(&mut file)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(Error::file("read the document", &path))?;
        if DocumentId::of(&bytes) == *id {
            Ok(bytes)
        } else {
            Err(Error::Document { path })
        }
    }

    /// Removes what is not among `kept`: documents of forgotten results, and halves that a crash left.
    pub(super) fn sweep<'a>(&self, kept: impl Iterator<Item = &'a DocumentId>) -> Result<(), Error> {
        let kept: HashSet<&str> = kept.map(|id| id.0.as_str()).collect();
        let list = std::fs::read_dir(&self.root).map_err(Error::file("list", &self.root))?;
        for entry in list {
            let entry = entry.map_err(Error::file("list", &self.root))?;
            if !kept.contains(entry.file_name().to_string_lossy().as_ref()) {
                let path = entry.path();
                remove(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
