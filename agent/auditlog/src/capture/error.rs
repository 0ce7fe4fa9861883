use std::io;
use std::path::PathBuf;

/// Why a log could not be captured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of the log is there.
    #[error(
        "there is no audit log at {path}: correct `path`, or remove the source if the log is gone for good"
    )]
    Missing {
        /// The configured path.
        path: PathBuf,
    },
    /// Something that is no regular file stands in the log's place.
    #[error("{path} is {found}, not a log file: name the file itself in `path`")]
    NotAFile {
        /// The configured path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// This user may not read it.
    #[error(
        "{path} may not be read by this user: give the agent's user read permission (a group or an ACL will do)"
    )]
    Denied {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file could not be opened.
    #[error("{path} could not be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder of rotated segments could not be listed.
    #[error("the folder {path} could not be listed for rotated segments")]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The glob is no glob.
    #[error("`rotated = {pattern:?}` is no glob")]
    Pattern {
        /// What is configured.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: glob::PatternError,
    },
    /// The glob can not name rotated segments.
    #[error("`rotated = {pattern:?}` {reason}")]
    PatternPlace {
        /// What is configured.
        pattern: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// More segments than may be held open.
    #[error("{path} has {found} rotated segments, more than the limit of {limit}: narrow the glob `rotated`")]
    TooMany {
        /// The log.
        path: PathBuf,
        /// How many match.
        found: usize,
        /// How many may.
        limit: usize,
    },
    /// The log was truncated while it was captured.
    #[error("{path} was truncated while it was captured: try again")]
    Truncated {
        /// The log.
        path: PathBuf,
    },
    /// The active file could not be held.
    #[error("the log could not be copied into {path}: see that the folder is there, writable and has space")]
    Pin {
        /// The staging folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log was rotated each time it was captured.
    #[error("{path} was rotated during each of {attempts} captures: try again")]
    Unstable {
        /// The log.
        path: PathBuf,
        /// How many were taken.
        attempts: u32,
    },
}

impl Error {
    /// Whether another try can not help.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Unstable { .. } | Self::Truncated { .. } | Self::Read { .. }
        )
    }

    /// Files an error of the system under what it means.
    pub(super) fn opening(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path, source },
            _ => Self::Open { path, source },
        }
    }
}
