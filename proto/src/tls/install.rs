//! Writing certificates, keys and roots, so that a crash at any point leaves files that work.
//!
//! # Crash consistency
//! Each file is written beside its place, synced, and renamed into it. [`Files::install`] writes the roots first, then
//! the new key *beside* the old one, then the certificate, then the new key alone: after each step certificate and key
//! fit together, because readers take the key that fits. What a crash can leave is one file `.NAME.new`, which the
//! next write replaces, and an old key in the key file, which the next installation removes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::files::{FileError, Files, read_private};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Everybody.
    Public,
    /// Its owner.
    Private,
}

impl Secrecy {
    fn mode(self) -> u32 {
        match self {
            Self::Public => 0o644,
            Self::Private => 0o600,
        }
    }
}

/// What is to be installed, PEM.
#[derive(Clone, Copy)]
pub struct Fresh<'a> {
    /// The new key.
    pub private_key: &'a str,
    /// Its certificate, then intermediates.
    pub certificate: &'a str,
    /// Roots to trust.
    pub trust_bundle: &'a str,
}

impl Files {
    /// Puts new files in the place of old ones, or where there are none yet.
    ///
    /// # Errors
    /// When one cannot be written; the files then still fit together.
    pub fn install(&self, fresh: &Fresh<'_>) -> Result<(), InstallError> {
        let old = match read_private(&self.private_key) {
            Ok(bytes) => Some(bytes),
            Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(InstallError::Old(error)),
        };
        write(&self.trust_bundle, fresh.trust_bundle.as_bytes(), Secrecy::Public)?;
        let key = fresh.private_key.as_bytes();
        if let Some(old) = old {
            let both = [key, b"\n".as_slice(), &old].concat();
            write(&self.private_key, &both, Secrecy::Private)?;
            write(&self.certificate, fresh.certificate.as_bytes(), Secrecy::Public)?;
        } else {
            write(&self.private_key, key, Secrecy::Private)?;
            return write(&self.certificate, fresh.certificate.as_bytes(), Secrecy::Public);
        }
        write(&self.private_key, key, Secrecy::Private)
    }
}

/// Puts a whole file in its place, synced, or leaves what was there. Written as root, it goes to the owner of its
/// folder: an agent that runs as somebody else must be able to read what root enrolled.
///
/// # Errors
/// When the system refuses.
pub fn write(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<(), InstallError> {
    let failed = |source| InstallError::Write {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let unfinished = folder.join(format!(".{}.new", name.to_string_lossy()));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    write_new(&unfinished, bytes, secrecy, folder)
        .and_then(|()| fs::rename(&unfinished, path))
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(failed)
}

fn write_new(path: &Path, bytes: &[u8], secrecy: Secrecy, folder: &Path) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(secrecy.mode())
        .open(path)?;
    let (owner, home) = (file.metadata()?, fs::metadata(folder)?);
    if owner.uid() == 0 && (home.uid(), home.gid()) != (owner.uid(), owner.gid()) {
        fchown(&file, Some(home.uid()), Some(home.gid()))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Why files were not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The key that is there cannot be kept while the new one is put beside it.
    #[error("keep the old key until the new one is in place")]
    Old(#[source] FileError),
    /// The system refuses.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(dir: &Path) -> Files {
        Files {
            certificate: dir.join("agent.pem"),
            private_key: dir.join("agent.key"),
            trust_bundle: dir.join("ca.pem"),
        }
    }

    #[test]
    fn new_files_replace_old_ones_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        for turn in ["first", "second"] {
            let fresh = Fresh {
                private_key: turn,
                certificate: "c",
                trust_bundle: "b",
            };
            files.install(&fresh).unwrap();
            assert_eq!(fs::read_to_string(&files.private_key).unwrap(), turn);
        }
        let mode = fs::metadata(&files.private_key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_write_that_was_cut_short_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.key");
        fs::write(dir.path().join(".agent.key.new"), "half").unwrap();
        write(&path, b"whole", Secrecy::Private).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_not_carried_on() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        fs::write(&files.private_key, "old").unwrap();
        fs::set_permissions(&files.private_key, fs::Permissions::from_mode(0o644)).unwrap();
        let fresh = Fresh {
            private_key: "new",
            certificate: "c",
            trust_bundle: "b",
        };
        assert!(matches!(
            files.install(&fresh),
            Err(InstallError::Old(FileError::TooOpen { .. }))
        ));
        assert_eq!(fs::read_to_string(&files.private_key).unwrap(), "old");
    }
}
