//! What the agent keeps on its host: the state folder, its lock, the switch that suspends everything.
//!
//! ## Layout
//! ```text
//! <state_dir>/
//!   lock            held while a command writes; names who holds it
//!   cache/          local copy of the repository's index; can be removed at any time
//!   heads/          what this host remembers of its repository: proof that no older state was put back
//!   staging/        what a cut holds on to
//!   writer          which machine this is: a host that was built anew has another
//!   reports/        reports of drills
//!   scratch/        restored files of drills, unless configured elsewhere
//! ```
//! ## Crash consistency
//! Locks are the kernel's (`flock`): a killed process holds none. Scratch and staging folders carry an owner file
//! that is locked as long as the owner lives; [`scratch::Area::sweep`] removes those whose owner is gone.

mod lock;
pub mod scratch;
mod writer;

use std::path::{Path, PathBuf};

pub use self::lock::{Holder, Lock};

/// Why the state folder cannot be used now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another command is at work.
    #[error("another command is at work{}", lock::describe(holder.as_ref()))]
    Busy {
        /// Who holds the lock, if it can be read.
        holder: Option<Holder>,
    },
    /// The suspend file is there.
    #[error("suspended: {} exists", path.display())]
    Suspended {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder of ours cannot be used.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// The state folder.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Makes the folder where it is missing, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(root: &Path) -> Result<Self, Error> {
        private_dir(root)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The local copy of the repository's index.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// What is remembered of the repository.
    pub fn heads(&self) -> PathBuf {
        self.root.join("heads")
    }

    /// What a cut holds on to.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Reports of drills.
    pub fn reports(&self) -> PathBuf {
        self.root.join("reports")
    }

    /// The id of this machine, made at the first call.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn writer(&self) -> Result<uuid::Uuid, Error> {
        writer::id(&self.root)
    }

    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// [`Error::Busy`] while another command holds it.
    pub fn lock(&self, holder: Holder) -> Result<Lock, Error> {
        Lock::take(&self.root.join("lock"), holder)
    }
}

/// Makes a folder that only its owner may enter.
pub(crate) fn private_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::file("create the folder", path))
}

/// Refuses to start while the suspend file is there.
///
/// # Errors
/// [`Error::Suspended`] while it is there; [`Error::File`] when that cannot be told.
pub fn refuse_if_suspended(suspend_file: &Path) -> Result<(), Error> {
    match suspend_file.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::Suspended {
            path: suspend_file.to_owned(),
        }),
        Err(source) => Err(Error::File {
            action: "look for",
            path: suspend_file.to_owned(),
            source,
        }),
    }
}
