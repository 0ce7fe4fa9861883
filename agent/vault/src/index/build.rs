//! Writes a segment: records in order, tables behind them; complete before it gets its name.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::record::{PackRow, Record, check};
use super::segment::{FENCE_LEN, MAGIC, PAGE_LEN, seal_of};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::id::IndexId;
use crate::keys::random;

/// Ending of a file that is being written; swept when nobody holds its lock.
pub(super) const UNFINISHED: &str = "tmp";
/// Ending of a segment.
pub(super) const FINISHED: &str = "segment";

/// Takes records in order.
pub(super) struct SegmentWriter {
    unfinished: PathBuf,
    finished: PathBuf,
    out: BufWriter<File>,
    page: Vec<u8>,
    fences: Vec<u8>,
    records: u64,
    last: Option<Record>,
}

impl SegmentWriter {
    /// Starts a file in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let name = hex::encode(random::<16>()?);
        let unfinished = dir.join(format!("{name}.{UNFINISHED}"));
        let file = File::create_new(&unfinished)
            .map_err(|e| Error::local("create index segment", &unfinished, e))?;
        // Held until the file is closed: a sweeper leaves it alone as long as we live.
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| Error::local("lock index segment", &unfinished, e.into()))?;
        let finished = dir.join(format!("{name}.{FINISHED}"));
        let out = BufWriter::with_capacity(256 << 10, file);
        Ok(Self {
            unfinished,
            finished,
            out,
            page: Vec::with_capacity(PAGE_LEN),
            fences: Vec::new(),
            records: 0,
            last: None,
        })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::local("write index segment", &self.unfinished, source)
    }

    /// Appends a record; not before the last one.
    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        if self.last.is_some_and(|last| record.chunk < last.chunk) {
            return Err(Error::internal("index records out of order"));
        }
        self.last = Some(*record);
        if self.page.is_empty() {
            self.fences.extend_from_slice(&record.prefix().to_le_bytes());
        }
        record.write(&mut self.page);
        self.records += 1;
        if self.page.len() == PAGE_LEN {
            self.end_page()
        } else {
            Ok(())
        }
    }

    fn end_page(&mut self) -> Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        self.fences.extend_from_slice(&check(&self.page).to_le_bytes());
        self.out
            .write_all(&self.page)
            .map_err(|e| Error::local("write index segment", &self.unfinished, e))?;
        self.page.clear();
        Ok(())
    }

    /// Writes the tables and gives the file its name.
    pub(super) fn finish(
        mut self,
        packs: impl Iterator<Item = Result<PackRow>>,
        sources: &[IndexId],
    ) -> Result<PathBuf> {
        self.end_page()?;
        debug_assert_eq!(self.fences.len() % FENCE_LEN, 0);
        let fences = std::mem::take(&mut self.fences);
        self.out.write_all(&fences).map_err(|e| self.failed(e))?;
        let mut count = 0_u32;
        let mut row_bytes = Vec::new();
        for row in packs {
            row_bytes.clear();
            row?.write(&mut row_bytes);
            self.out.write_all(&row_bytes).map_err(|e| self.failed(e))?;
            count += 1;
        }
        let mut source_ids = Vec::with_capacity(sources.len() * 32);
        sources
            .iter()
            .for_each(|id| source_ids.extend_from_slice(id.as_bytes()));
        let mut tail = Vec::new();
        tail.extend_from_slice(&self.records.to_le_bytes());
        tail.extend_from_slice(&count.to_le_bytes());
        tail.extend_from_slice(&(sources.len() as u32).to_le_bytes());
        let seal = seal_of(&fences, &source_ids, &tail);
        tail.extend_from_slice(&seal);
        tail.extend_from_slice(MAGIC);
        self.out.write_all(&source_ids).map_err(|e| self.failed(e))?;
        self.out.write_all(&tail).map_err(|e| self.failed(e))?;
        self.install()
    }

    fn install(mut self) -> Result<PathBuf> {
        self.out.flush().map_err(|e| self.failed(e))?;
        // A cache: what a power cut spoils is found by the checks and downloaded again. No fsync.
        failpoint::reach("index.segment.written");
        std::fs::rename(&self.unfinished, &self.finished)
            .map_err(|e| Error::local("rename index segment", &self.unfinished, e))?;
        failpoint::reach("index.segment.installed");
        Ok(std::mem::take(&mut self.finished))
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.finished.as_os_str().is_empty() {
            // Given up half-way; if this fails too, the sweeper takes it.
            let _ = std::fs::remove_file(&self.unfinished);
        }
    }
}

/// Removes files that a killed process left unfinished.
pub(super) fn sweep(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && std::fs::remove_file(path).is_ok() {
        tracing::info!(path = %path.display(), "removed an unfinished index segment of an earlier run");
    }
}
