//! Why the authority did not do what it was asked.

use std::io;
use std::path::PathBuf;

use dr_proto::tls::InstallError;
use jiff::Timestamp;

/// Why the authority did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no authority.
    #[error("there is no certificate authority in {}: `dr-coordinator pki init` makes one", dir.display())]
    NotThere {
        /// The folder.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("there is a certificate authority in {} already: it is never made anew over another", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder cannot be made.
    #[error("make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write the files of the authority")]
    Write(#[from] InstallError),
    /// A file cannot be removed.
    #[error("remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder cannot be locked.
    #[error("lock {}", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `authority.json` is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// `authority.json` was written by a newer version.
    #[error("{} has format {found}, and this version knows {known}: use a newer dr-coordinator", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A root's key can be read by others, or not at all.
    #[error("use the root's key")]
    Key(#[source] dr_proto::tls::FileError),
    /// A root, or its key, cannot be parsed.
    #[error("use the root {}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rcgen::Error,
    },
    /// A request is not PKCS #10, or its signature is not by the key in it.
    #[error("read the signing request")]
    Request(#[source] rcgen::Error),
    /// A request is too large.
    #[error("the signing request has {size} bytes, and {most} are enough for any")]
    RequestTooLarge {
        /// Its size.
        size: usize,
        /// The most.
        most: usize,
    },
    /// A request is for a kind of key that we do not sign.
    #[error("the signing request is for a key of another kind than ECDSA P-256, ECDSA P-384 or Ed25519")]
    RequestKey,
    /// A certificate cannot be made.
    #[error("sign a certificate for {subject}")]
    Sign {
        /// For whom.
        subject: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// A key cannot be made.
    #[error("make a key")]
    MakeKey(#[source] rcgen::Error),
    /// A name cannot stand in a certificate.
    #[error("`{0}` can not stand in a certificate")]
    Name(String),
    /// A certificate would be valid for no time, or past all calendars.
    #[error("a certificate can not be valid for {days} days")]
    Lifetime {
        /// How long it was to be.
        days: u64,
    },
    /// A certificate would outlive the root.
    #[error(
        "the root ends at {root}, before a certificate that is valid until {until} would: rotate the root"
    )]
    RootEnds {
        /// When the root ends.
        root: Timestamp,
        /// When the certificate would.
        until: Timestamp,
    },
    /// The identity belongs to another fleet.
    #[error("`{identity}` is not of the domain `{domain}` that this authority is for")]
    OtherDomain {
        /// Whose it would be.
        identity: String,
        /// The authority's.
        domain: String,
    },
    /// A step of a rotation comes out of turn.
    #[error("{0}")]
    Turn(&'static str),
    /// A step of a rotation comes too early.
    #[error(
        "too early by the certificates that were issued: {reason}; it may be done from {from}, or at once with --now"
    )]
    Early {
        /// What would break.
        reason: &'static str,
        /// When it would not.
        from: Timestamp,
    },
    /// The system gives no random bytes.
    #[error("the system's source of random bytes failed")]
    Random,
    /// A file with certificates cannot be used.
    #[error("use the authority's certificates")]
    File(#[source] dr_proto::tls::FileError),
    /// Our own trust bundle cannot be used.
    #[error("use our own trust bundle")]
    OwnBundle(#[source] dr_proto::tls::FileError),
    /// Our own certificate cannot be used.
    #[error("use our own certificate")]
    OwnCertificate(#[source] dr_proto::tls::CertificateError),
    /// A blocking step panicked.
    #[error("a step of the authority broke off")]
    Broken(#[source] tokio::task::JoinError),
}
