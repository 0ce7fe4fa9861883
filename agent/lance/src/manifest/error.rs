//! What can be wrong with a manifest's bytes.

/// What is wrong with a manifest's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No byte at all: what a power loss leaves of a file that was never flushed.
    #[error("the file is empty")]
    Empty,
    /// Fewer bytes than a footer.
    #[error("the file has {len} bytes, less than the footer's 16")]
    TooShort {
        /// Length of the file.
        len: usize,
    },
    /// More bytes than any manifest has: they are not read.
    #[error("the file has {len} bytes, more than any manifest")]
    TooLarge {
        /// Length of the file.
        len: u64,
    },
    /// The last four bytes are not `LANC`.
    #[error("the file does not end in LANC: it is cut short or not a manifest")]
    NoMagic,
    /// An offset or a length points outside the file.
    #[error("{what} at {at} with {len} bytes does not lie inside the file")]
    OutOfBounds {
        /// Which part.
        what: &'static str,
        /// Its offset.
        at: u64,
        /// Its length, as far as known.
        len: u64,
    },
    /// The recorded length of the manifest is not what lies between it and the footer.
    #[error("the manifest's length is recorded as {recorded}, {found} bytes are there")]
    LengthMismatch {
        /// Length that the file records.
        recorded: u64,
        /// Length that is there.
        found: u64,
    },
    /// A part is not valid protobuf.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A file's path leads out of the table's folder.
    #[error("it names {path:?}, which does not stay inside the table")]
    UnsafePath {
        /// The path.
        path: String,
    },
    /// A file belongs to a base path that the manifest does not list.
    #[error("it refers to base path {id}, which it does not list")]
    UnknownBase {
        /// The missing id.
        id: u32,
    },
}
