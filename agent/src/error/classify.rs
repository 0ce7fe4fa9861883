//! Which error means what.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use dr_terminal::Classify;
use dr_vault::storage;

use super::engine;
use crate::daemon::{identity, journal};
use crate::exit::Code;
use crate::{config, state};

/// Kinds of failures. Names are stable: scripts and alerts go by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The command line makes no sense.
    Usage,
    /// The configuration cannot work.
    Configuration,
    /// A key file or key command does not yield a key.
    Key,
    /// The key given does not open the repository, or none was given.
    WrongKey,
    /// What was named is not there.
    NotFound,
    /// There is no repository at the place named.
    NotARepository,
    /// The target is there already.
    Exists,
    /// No space on this host or in the store.
    NoSpace,
    /// The store did not answer.
    StoreUnavailable,
    /// The store refused.
    StoreDenied,
    /// The repository is damaged.
    RepositoryDamaged,
    /// The repository was written by a newer version.
    RepositoryNewer,
    /// The repository is not the one that was expected.
    ForeignRepository,
    /// The host's system refused.
    Denied,
    /// The host's system failed to read or write.
    Io,
    /// Live data is damaged, or was rewritten while it was read.
    SourceDamaged,
    /// Live data moved too fast to be captured.
    SourceBusy,
    /// Another command holds the lock.
    Busy,
    /// The suspend file is there.
    Suspended,
    /// The host's own hook says that it is busy.
    HostBusy,
    /// A signal or the suspend file ended the work.
    Cancelled,
    /// No coordinator answered.
    CoordinatorUnavailable,
    /// A mistake of ours.
    Internal,
}

impl Class {
    /// All kinds, for the test that names and codes stay.
    pub const ALL: [Self; 23] = [
        Self::Usage,
        Self::Configuration,
        Self::Key,
        Self::WrongKey,
        Self::NotFound,
        Self::NotARepository,
        Self::Exists,
        Self::NoSpace,
        Self::StoreUnavailable,
        Self::StoreDenied,
        Self::RepositoryDamaged,
        Self::RepositoryNewer,
        Self::ForeignRepository,
        Self::Denied,
        Self::Io,
        Self::SourceDamaged,
        Self::SourceBusy,
        Self::Busy,
        Self::Suspended,
        Self::HostBusy,
        Self::Cancelled,
        Self::CoordinatorUnavailable,
        Self::Internal,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::Key => "key_unusable",
            Self::WrongKey => "wrong_key",
            Self::NotFound => "not_found",
            Self::NotARepository => "not_a_repository",
            Self::Exists => "exists",
            Self::NoSpace => "no_space",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreDenied => "store_denied",
            Self::RepositoryDamaged => "repository_damaged",
            Self::RepositoryNewer => "repository_newer",
            Self::ForeignRepository => "foreign_repository",
            Self::Denied => "denied",
            Self::Io => "io",
            Self::SourceDamaged => "source_damaged",
            Self::SourceBusy => "source_busy",
            Self::Busy => "busy",
            Self::Suspended => "suspended",
            Self::HostBusy => "host_busy",
            Self::Cancelled => "cancelled",
            Self::CoordinatorUnavailable => "coordinator_unavailable",
            Self::Internal => "internal",
        }
    }

    /// The exit code.
    pub fn code(self) -> Code {
        match self {
            Self::Usage => Code::Usage,
            Self::Configuration | Self::Key | Self::ForeignRepository => Code::Configuration,
            Self::WrongKey | Self::StoreDenied | Self::Denied => Code::Denied,
            Self::NotFound | Self::NotARepository => Code::NotFound,
            Self::Exists | Self::NoSpace => Code::NoSpace,
            Self::StoreUnavailable | Self::CoordinatorUnavailable | Self::Io => Code::Unreachable,
            Self::RepositoryDamaged | Self::RepositoryNewer => Code::Damaged,
            Self::SourceDamaged => Code::Disproved,
            Self::SourceBusy | Self::Busy | Self::Suspended => Code::Busy,
            Self::HostBusy | Self::Cancelled => Code::Inconclusive,
            Self::Internal => Code::Internal,
        }
    }
}

impl Classify for Class {
    fn known(error: &(dyn StdError + 'static)) -> Option<(Self, Vec<String>)> {
        known(error)
    }

    fn unknown() -> Self {
        Self::Internal
    }

    fn name(self) -> &'static str {
        self.name()
    }

    fn code(self) -> Code {
        self.code()
    }
}

fn known(error: &(dyn StdError + 'static)) -> Option<(Class, Vec<String>)> {
    let hintless = |class| (class, Vec::new());
    if let Some(error) = error.downcast_ref::<config::Error>() {
        return Some((Class::Configuration, error.hints()));
    }
    if let Some(error) = error.downcast_ref::<identity::Error>() {
        return Some((error.class(), error.hints()));
    }
    if let Some(class) = error.downcast_ref::<journal::Error>().and_then(journal_class) {
        return Some(hintless(class));
    }
    if let Some(error) = error.downcast_ref::<config::ExpandError>() {
        return Some(expand(error));
    }
    if let Some(error) = error.downcast_ref::<state::Error>() {
        return state_class(error);
    }
    if let Some(error) = error.downcast_ref::<dr_vault::Error>() {
        return vault(error);
    }
    if let Some(error) = error.downcast_ref::<Box<dr_vault::Error>>() {
        return vault(error);
    }
    if let Some(error) = error.downcast_ref::<storage::Error>() {
        return Some(store(error));
    }
    if let Some(error) = error.downcast_ref::<Arc<storage::Error>>() {
        return Some(store(error));
    }
    if let Some(error) = error.downcast_ref::<Arc<io::Error>>() {
        return Some(hintless(system(error)));
    }
    if let Some(class) = engine::known(error) {
        return Some(hintless(class));
    }
    error
        .downcast_ref::<io::Error>()
        .map(|error| hintless(system(error)))
}

fn expand(error: &config::ExpandError) -> (Class, Vec<String>) {
    let (class, hint) = match error {
        config::ExpandError::Pattern { .. } => (Class::Configuration, "a glob knows `*`, `?` and `[a-z]`"),
        config::ExpandError::Unreadable { .. } => (
            Class::Denied,
            "give the agent's user permission to list that folder",
        ),
        config::ExpandError::Nothing { .. } => (
            Class::NotFound,
            "is it mounted? `dr-agent discover DIR` shows what there is",
        ),
        config::ExpandError::Twice { .. } => (Class::Configuration, "give one of the entries another name"),
    };
    (class, vec![hint.to_owned()])
}

fn state_class(error: &state::Error) -> Option<(Class, Vec<String>)> {
    match error {
        state::Error::Busy { .. } => Some((
            Class::Busy,
            vec!["wait for it to end, or end it with Ctrl-C or SIGTERM".to_owned()],
        )),
        state::Error::Suspended { path } => Some((
            Class::Suspended,
            vec![format!("remove {} to resume", path.display())],
        )),
        state::Error::File { .. } => None,
    }
}

/// Journals that somebody has to do something about say what; others fail by their source.
fn journal_class(error: &journal::Error) -> Option<Class> {
    match error {
        journal::Error::Newer { .. } | journal::Error::NotAJournal { .. } => Some(Class::Configuration),
        journal::Error::Document { .. } => Some(Class::Io),
        journal::Error::File { .. }
        | journal::Error::Record(_)
        | journal::Error::State(_)
        | journal::Error::Stopped(_) => None,
    }
}

/// Vault errors say in their own words what to do; their sources add the rest.
fn vault(error: &dr_vault::Error) -> Option<(Class, Vec<String>)> {
    use dr_vault::Error as Vault;
    let class = match error {
        Vault::Storage { source, .. } => return Some(store(source)),
        Vault::WriterFailed { source } => return vault(source),
        Vault::Damaged { .. } | Vault::Missing { .. } | Vault::ChunkNotIndexed { .. } => {
            let hint = "`dr-agent repository check` names what is damaged and which snapshots need it";
            return Some((Class::RepositoryDamaged, vec![hint.to_owned()]));
        }
        Vault::WrongKey { .. } | Vault::KeyNeeded { .. } | Vault::KeyReplaced { .. } => Class::WrongKey,
        Vault::ForeignRepository { .. } => Class::ForeignRepository,
        Vault::NewerFormat { .. } => Class::RepositoryNewer,
        Vault::NotARepository { .. } => Class::NotARepository,
        Vault::AlreadyInitialised { .. } => Class::Exists,
        Vault::InvalidOptions { .. } => Class::Configuration,
        Vault::KeyFile { .. } => {
            let hint = "on a host without a repository `dr-agent init` makes its key file; on another, copy the recovery key here and give --identity FILE";
            return Some((Class::Key, vec![hint.to_owned()]));
        }
        Vault::Wrap { .. } => Class::Key,
        Vault::SnapshotNotFound { .. } => Class::NotFound,
        Vault::SnapshotAmbiguous { .. } => Class::Usage,
        Vault::TooLarge { .. } => Class::Configuration,
        Vault::CacheDamaged { .. } => Class::Io,
        Vault::Cancelled => Class::Cancelled,
        Vault::Internal { .. } => Class::Internal,
        Vault::Local { source, .. } => system(source),
        // Variants of a later version explain themselves by their source, if they have one.
        _ => return None,
    };
    Some((class, Vec::new()))
}

fn store(error: &storage::Error) -> (Class, Vec<String>) {
    let (class, hint) = match error {
        storage::Error::NotFound(_) => (Class::NotFound, ""),
        storage::Error::Denied { .. } => (
            Class::StoreDenied,
            "check the credentials (expired?) and that they may list, read and write below the repository's prefix; \
             `dr-agent doctor` tries each",
        ),
        storage::Error::Unavailable { .. } => (
            Class::StoreUnavailable,
            "check network, endpoint and region; `dr-agent doctor` tries each. Trying again is safe",
        ),
        storage::Error::NoSpace { .. } => (
            Class::NoSpace,
            "make room in the store or raise the quota; trying again is safe",
        ),
        storage::Error::Configuration { .. } => (Class::Configuration, ""),
        storage::Error::Cancelled => (Class::Cancelled, ""),
        _ => (Class::Io, ""),
    };
    (
        class,
        (!hint.is_empty()).then(|| hint.to_owned()).into_iter().collect(),
    )
}

fn system(error: &io::Error) -> Class {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => Class::NotFound,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Class::Denied,
        Kind::AlreadyExists | Kind::DirectoryNotEmpty => Class::Exists,
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Class::NoSpace,
        _ => Class::Io,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_apart_and_every_class_has_a_code_that_is_no_success() {
        let names: BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names.len(), Class::ALL.len());
        assert!(Class::ALL.iter().all(|class| class.code() != Code::Done));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("do something")]
    struct Outer<E: StdError + 'static>(#[source] E);

    fn class_of(error: impl StdError + Send + Sync + 'static) -> Class {
        dr_terminal::Failure::<Class>::from(Outer(error)).class()
    }

    #[test]
    fn the_first_known_error_of_the_chain_decides() {
        let system = |kind| io::Error::new(kind, "said the system");
        assert_eq!(class_of(system(io::ErrorKind::StorageFull)), Class::NoSpace);
        assert_eq!(class_of(system(io::ErrorKind::PermissionDenied)), Class::Denied);
        assert_eq!(class_of(storage::Error::Cancelled), Class::Cancelled);
        assert_eq!(class_of(dr_vault::restore::Error::Cancelled), Class::Cancelled);
        let unavailable = storage::Error::Unavailable {
            operation: "get",
            key: "config".into(),
            reason: "connection refused".into(),
        };
        let vault = dr_vault::Error::Storage {
            location: "s3://b/p".into(),
            source: Arc::new(unavailable),
        };
        assert_eq!(class_of(vault), Class::StoreUnavailable);
        assert_eq!(
            class_of(std::fmt::Error),
            Class::Internal,
            "what nobody knows is our mistake"
        );
    }
}
