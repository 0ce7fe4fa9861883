//! What need not come from the repository: files at the target, files and chunks that an interrupted run has written.
//! Nothing is believed: each is read and hashed.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fill::Fill;
use crate::chunking::BLOCK;
use crate::read::Node;
use crate::read::spool::Placed;
use crate::tree::ContentHash;

/// What was right already.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Kept {
    fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Fill {
    /// Whether a file has the content that it had at the cut.
    pub(super) fn is_right(&self, file: &File, node: &Node) -> io::Result<bool> {
        if Some(file.metadata()?.len()) != node.entry.file_len() {
            return Ok(false);
        }
        Ok(Some(self.hash(file)?) == node.hash)
    }

    /// Takes the file from where it stands already, if it is right there.
    pub(super) fn keep(&self, node: &Node) -> io::Result<bool> {
        let Some(from) = &self.reuse_from else {
            return Ok(false);
        };
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let path = from.join(node.entry.path.as_path());
        // What can not be opened is written anew.
        let Ok(present) = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).map(File::from) else {
            return Ok(false);
        };
        let metadata = present.metadata()?;
        if !metadata.is_file() || Some(metadata.len()) != node.entry.file_len() {
            return Ok(false);
        }
        let copy = self.site.write(|site| site.create_file(&node.entry.path))?;
        if rustix::fs::ioctl_ficlone(&copy, &present).is_err() {
            io::copy(&mut &present, &mut &copy)?;
        }
        if !self.is_right(&copy, node)? {
            copy.set_len(0)?;
            return Ok(false);
        }
        self.finish_file(&copy, node)?;
        self.kept.add(1, metadata.len());
        self.progress.advance(metadata.len());
        self.progress.file_done();
        Ok(true)
    }

    /// Keeps the file that an interrupted run has written, if it is right. If not, it is made ready to be filled.
    pub(super) fn take_up(&self, node: &Node) -> io::Result<bool> {
        let Some(left) = self.site.left_file(&node.entry.path)? else {
            return Ok(false);
        };
        let wanted = node.entry.file_len().unwrap_or(0);
        if self.is_right(&left, node)? {
            self.site.write(|_| self.finish_file(&left, node))?;
            self.resumed.add(1, wanted);
            self.progress.advance(wanted);
            self.progress.file_done();
            return Ok(true);
        }
        self.site.write(|site| {
            // It may have got its own mode already.
            rustix::fs::fchmod(&left, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
            let file = site.create_file(&node.entry.path)?;
            if file.metadata()?.len() > wanted {
                file.set_len(wanted)?;
            }
            Ok(())
        })?;
        Ok(false)
    }

    /// Those chunks that an interrupted run has not written, or not whole.
    pub(super) fn missing(&self, node: &Node, placed: Vec<Placed>) -> io::Result<Vec<Placed>> {
        let Some(left) = self.site.left_file(&node.entry.path)? else {
            return Ok(placed);
        };
        let mut missing = Vec::new();
        let mut buffer = Vec::new();
        for chunk in placed {
            self.open()?;
            buffer.resize(
                usize::try_from(chunk.end - chunk.start).map_err(io::Error::other)?,
                0,
            );
            match left.read_exact_at(&mut buffer, chunk.start) {
                Ok(()) if self.repository.chunk_id(&buffer) == chunk.id => {
                    self.resumed.add(0, buffer.len() as u64);
                    self.progress.advance(buffer.len() as u64);
                }
                Ok(()) => missing.push(chunk),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => missing.push(chunk),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// An error once nothing more is to be written: reading on would be for nothing.
    fn open(&self) -> io::Result<()> {
        if self.site.is_closed() {
            Err(io::ErrorKind::Interrupted.into())
        } else {
            Ok(())
        }
    }

    /// Hash of a whole file as it is on disk.
    fn hash(&self, mut file: &File) -> io::Result<ContentHash> {
        let mut hasher = self.hasher.clone();
        file.rewind()?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut buffer = vec![0; len.clamp(1, BLOCK / 2)];
        loop {
            self.open()?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(ContentHash::of(&hasher)),
                Ok(read) => {
                    hasher.update(buffer.get(..read).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
