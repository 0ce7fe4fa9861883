//! One command at a time: an `flock` on a file that says who holds it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Error;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The command, such as `snapshot`.
    pub command: String,
    /// Since when.
    pub since: Timestamp,
}

impl Holder {
    /// This process.
    pub fn this(command: impl Into<String>, since: Timestamp) -> Self {
        Self {
            pid: std::process::id(),
            command: command.into(),
            since,
        }
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at `path`, or says who has it.
    ///
    /// # Errors
    /// [`Error::Busy`] while another process holds it.
    pub fn take(path: &Path, holder: Holder) -> Result<Self, Error> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::file("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::Busy {
                    holder: read(&mut file),
                });
            }
            Err(errno) => return Err(Error::file("lock", path)(errno.into())),
        }
        write(&mut file, &holder).map_err(Error::file("write", path))?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The kernel lets go of the lock with the descriptor; an old name in the file would only mislead a reader.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(%error, "the lock file keeps the name of its last holder");
        }
    }
}

fn write(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

pub(super) fn describe(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!(
            ": `{}`, process {}, since {:.0}",
            holder.command, holder.pid, holder.since
        ),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_the_lock() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("lock");
        let since: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let first = Lock::take(&path, Holder::this("snapshot", since)).expect("free");
        let refused = Lock::take(&path, Holder::this("drill", since)).expect_err("taken");
        let expected = format!(
            "another command is at work: `snapshot`, process {}, since 2026-01-02T03:04:05Z",
            std::process::id()
        );
        assert_eq!(refused.to_string(), expected);
        drop(first);
        Lock::take(&path, Holder::this("drill", since)).expect("free again");
    }
}
