//! From any error to what a person reads, what a program reads and how the process ends.

use std::error::Error as StdError;
use std::io;

use dr_proto::model::exit::Code;
use dr_terminal::Classify;

use crate::reconcile::backup;
use crate::{config, pki, serve};

/// Why a command did not do what it was asked.
pub type Failure = dr_terminal::Failure<Class>;

/// Answers of a command.
pub type Outcome = Result<Code, Failure>;

/// Kinds of failures. Names are stable: scripts go by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The command line makes no sense.
    Usage,
    /// The configuration cannot work.
    Configuration,
    /// Certificates or keys cannot be used.
    Certificates,
    /// The store cannot be used.
    Store,
    /// What was named is not there.
    NotFound,
    /// The target is there already.
    Exists,
    /// No space on this host.
    NoSpace,
    /// The host's system refused.
    Denied,
    /// An address is taken, or another coordinator holds the store.
    Busy,
    /// A copy of the store is damaged, or a key does not open it.
    Damaged,
    /// A mistake of ours.
    Internal,
}

impl Classify for Class {
    fn known(error: &(dyn StdError + 'static)) -> Option<(Self, Vec<String>)> {
        if let Some(error) = error.downcast_ref::<config::Error>() {
            return Some((Self::Configuration, error.hints()));
        }
        if error.is::<dr_proto::tls::FileError>() || error.is::<dr_proto::tls::MaterialError>() {
            let hint = "`dr-coordinator pki init` makes certificates; `tls` of the configuration names them";
            return Some((Self::Certificates, vec![hint.to_owned()]));
        }
        if let Some(error) = error.downcast_ref::<pki::Error>() {
            return by_authority(error).map(|class| (class, Vec::new()));
        }
        if let Some(error) = error.downcast_ref::<backup::Error>() {
            return by_backup(error).map(|class| (class, Vec::new()));
        }
        if let Some(error) = error.downcast_ref::<serve::Error>() {
            return by_serving(error);
        }
        if let Some(error) = error.downcast_ref::<dr_store::Error>() {
            return by_store(error).map(|class| (class, hints(error, class)));
        }
        let error = error.downcast_ref::<io::Error>()?;
        Some((by_io(error), Vec::new()))
    }

    fn unknown() -> Self {
        Self::Internal
    }

    fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::Certificates => "certificates",
            Self::Store => "store",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::NoSpace => "no_space",
            Self::Denied => "denied",
            Self::Busy => "busy",
            Self::Damaged => "damaged",
            Self::Internal => "internal",
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Usage => Code::Usage,
            Self::Configuration | Self::Certificates => Code::Configuration,
            Self::Store => Code::Unreachable,
            Self::NotFound => Code::NotFound,
            Self::Exists | Self::NoSpace => Code::NoSpace,
            Self::Denied => Code::Denied,
            Self::Busy => Code::Busy,
            Self::Damaged => Code::Damaged,
            Self::Internal => Code::Internal,
        }
    }
}

/// `None`: its cause says more.
fn by_authority(error: &pki::Error) -> Option<Class> {
    match error {
        pki::Error::NotThere { .. } => Some(Class::Configuration),
        pki::Error::Exists { .. } => Some(Class::Exists),
        pki::Error::Damaged { .. } | pki::Error::Newer { .. } | pki::Error::Root { .. } => {
            Some(Class::Damaged)
        }
        pki::Error::Turn(_) | pki::Error::Early { .. } => Some(Class::Busy),
        pki::Error::Request(_)
        | pki::Error::RequestTooLarge { .. }
        | pki::Error::RequestKey
        | pki::Error::Name(_)
        | pki::Error::Lifetime { .. }
        | pki::Error::RootEnds { .. }
        | pki::Error::OtherDomain { .. } => Some(Class::Usage),
        _ => None,
    }
}

/// `None`: its cause says more.
fn by_backup(error: &backup::Error) -> Option<Class> {
    match error {
        backup::Error::NoRecipient | backup::Error::Recipient { .. } => Some(Class::Configuration),
        backup::Error::Decrypt { .. } | backup::Error::Identity { .. } => Some(Class::Damaged),
        backup::Error::Exists(_) => Some(Class::Exists),
        _ => None,
    }
}

/// `None`: its cause says more.
fn by_serving(error: &serve::Error) -> Option<(Class, Vec<String>)> {
    match error {
        serve::Error::OtherDomain { .. } => Some((Class::Configuration, Vec::new())),
        serve::Error::TakenOver { .. } => {
            let hint = "stop one of the two: agents attach to one coordinator only";
            Some((Class::Busy, vec![hint.to_owned()]))
        }
        _ => None,
    }
}

fn by_store(error: &dr_store::Error) -> Option<Class> {
    match error {
        dr_store::Error::Url(_) => Some(Class::Configuration),
        dr_store::Error::NotFound { .. } => Some(Class::NotFound),
        dr_store::Error::Held { .. } => Some(Class::Busy),
        _ if error.is_damage() => Some(Class::Damaged),
        // Its cause says more: no space, no permission.
        _ => error
            .source()
            .and_then(|source| source.downcast_ref())
            .map(by_io)
            .or(Some(Class::Store)),
    }
}

/// What to do about a store that does not open.
fn hints(error: &dr_store::Error, class: Class) -> Vec<String> {
    let hint = match (error, class) {
        (_, Class::Damaged) => {
            "move the file away and put the newest copy in its place with `dr-coordinator recover`; agents tell what \
             happened since"
        }
        (dr_store::Error::Open { .. }, _) => "does its folder exist, and may the coordinator write there?",
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}

fn by_io(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::NotFound => Class::NotFound,
        io::ErrorKind::AlreadyExists => Class::Exists,
        io::ErrorKind::PermissionDenied => Class::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::NoSpace,
        io::ErrorKind::AddrInUse | io::ErrorKind::ResourceBusy => Class::Busy,
        io::ErrorKind::AddrNotAvailable => Class::Configuration,
        _ => Class::Internal,
    }
}

/// Adds what was being done to any result that can become a failure.
pub trait Doing<T> {
    /// Adds a verb phrase ("open the store").
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| error.into().context(what()))
    }
}
