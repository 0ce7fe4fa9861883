//! A snapshot's file as a plain reader, for code that knows nothing of async.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use super::{Node, SourceReader};

/// Bytes fetched in one step.
const STEP: u64 = 4 << 20;

/// Reads a file from its beginning, a few mebibytes ahead. Only for threads that may block (`spawn_blocking`).
#[derive(Debug)]
pub struct FileReader {
    reader: SourceReader,
    node: Node,
    runtime: Handle,
    offset: u64,
    ready: Bytes,
}

impl FileReader {
    pub(super) fn new(reader: SourceReader, node: Node, runtime: Handle) -> Self {
        Self {
            reader,
            node,
            runtime,
            offset: 0,
            ready: Bytes::new(),
        }
    }
}

impl Read for FileReader {
    /// The source of an error is a [`super::Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.node.entry.file_len().unwrap_or(0);
        if self.ready.is_empty() && self.offset < len {
            let range = self.offset..len.min(self.offset + STEP);
            let end = range.end;
            self.ready = self
                .runtime
                .block_on(self.reader.read(&self.node, range))
                .map_err(io::Error::other)?;
            self.offset = end;
        }
        let taken = buffer.len().min(self.ready.len());
        self.ready
            .copy_to_slice(buffer.get_mut(..taken).unwrap_or_default());
        Ok(taken)
    }
}
