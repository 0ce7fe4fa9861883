//! Completes the stamps of indices from their pinned files.

use std::io;

use crate::index_file::{self, ReadAt};
use crate::layout::INDICES;
use crate::manifest::IndexKind;
use crate::report::TableStamp;

use super::{Entries, PinnedEntry};

impl ReadAt for PinnedEntry {
    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Self::read_at(self, buffer, offset)
    }
}

impl TableStamp {
    /// Releases before 0.40 leave blank in the manifest what their index files tell.
    pub(crate) fn complete_indices(&mut self, entries: &Entries) {
        for index in &mut self.indices {
            let folder = format!("{}/{INDICES}/{}/", self.path, index.uuid);
            let files = || {
                entries
                    .range(folder.clone()..)
                    .take_while(|(path, _)| path.starts_with(&folder))
            };
            if index.kind == IndexKind::Unknown {
                index.kind = index_file::kind_of(files().map(|(path, _)| &path[folder.len()..]));
            }
            if index.kind == IndexKind::Vector && index.parameters.is_empty() {
                let file = files().find(|(path, _)| path.ends_with("/index.idx"));
                index.parameters = file
                    .map(|(_, entry)| index_file::vector_parameters(&**entry))
                    .unwrap_or_default();
            }
        }
    }
}
