//! Which error means what.

use std::error::Error as StdError;
use std::io;

use dr_proto::model::exit::Code;
use dr_proto::tls;
use dr_terminal::Classify;

use crate::contexts;
use crate::coordinator::CallError;

/// Kinds of failures. Names are stable: scripts go by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The command line, or a value in it, makes no sense.
    Usage,
    /// Contexts cannot be read, or say too little.
    Configuration,
    /// Certificate, key or trust bundle cannot be used.
    Certificates,
    /// A plan has errors.
    PlanInvalid,
    /// What was named is not there.
    NotFound,
    /// The target is there already.
    Exists,
    /// The coordinator did not answer, or not in time.
    Unreachable,
    /// The coordinator does not know us, or our certificate does not allow this.
    Denied,
    /// Not now: somebody else is at it, or there is too much to do.
    Busy,
    /// Versions are too far apart.
    Version,
    /// No space on this host.
    NoSpace,
    /// This host failed to read or write.
    Io,
    /// A signal ended the command.
    Interrupted,
    /// The coordinator made a mistake.
    Coordinator,
    /// A mistake of ours.
    Internal,
}

impl Class {
    /// All kinds, for the test that names and codes stay.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 15] = [
        Self::Usage,
        Self::Configuration,
        Self::Certificates,
        Self::PlanInvalid,
        Self::NotFound,
        Self::Exists,
        Self::Unreachable,
        Self::Denied,
        Self::Busy,
        Self::Version,
        Self::NoSpace,
        Self::Io,
        Self::Interrupted,
        Self::Coordinator,
        Self::Internal,
    ];
}

impl Classify for Class {
    fn known(error: &(dyn StdError + 'static)) -> Option<(Self, Vec<String>)> {
        if let Some(error) = error.downcast_ref::<CallError>() {
            return error.class();
        }
        if let Some(error) = error.downcast_ref::<contexts::Error>() {
            return Some((error.class(), error.hints()));
        }
        if let Some(error) = error.downcast_ref::<tls::ConnectError>() {
            return Some(dialling(error));
        }
        if error.is::<tls::FileError>() || error.is::<tls::MaterialError>() {
            let hint = "`drctl doctor` checks certificate, key and trust bundle one by one";
            return Some((Self::Certificates, vec![hint.to_owned()]));
        }
        error
            .downcast_ref::<io::Error>()
            .map(|error| (system(error), Vec::new()))
    }

    fn unknown() -> Self {
        Self::Internal
    }

    fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::Certificates => "certificates",
            Self::PlanInvalid => "plan_invalid",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
            Self::Busy => "busy",
            Self::Version => "version",
            Self::NoSpace => "no_space",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::Coordinator => "coordinator",
            Self::Internal => "internal",
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Usage => Code::Usage,
            Self::Configuration | Self::Certificates | Self::PlanInvalid | Self::Version => {
                Code::Configuration
            }
            Self::NotFound => Code::NotFound,
            Self::Exists | Self::NoSpace => Code::NoSpace,
            Self::Unreachable | Self::Io => Code::Unreachable,
            Self::Denied => Code::Denied,
            Self::Busy => Code::Busy,
            Self::Interrupted => Code::Interrupted,
            Self::Coordinator | Self::Internal => Code::Internal,
        }
    }
}

fn dialling(error: &tls::ConnectError) -> (Class, Vec<String>) {
    use tls::ConnectError as Dial;
    let (class, hint) = match error {
        Dial::NoHost { .. } => (
            Class::Configuration,
            "give an endpoint such as https://dr.example.net:7443",
        ),
        Dial::Resolve { .. } | Dial::ResolveTimedOut { .. } | Dial::NoAddress { .. } => (
            Class::Unreachable,
            "is the endpoint's name right, and does this host's resolver know it?",
        ),
        Dial::Connect { .. } | Dial::ConnectTimedOut { .. } => (
            Class::Unreachable,
            "is the coordinator running, and does a firewall let this host through? Trying again is safe",
        ),
        Dial::Handshake { source, .. } if tls::certificate_trouble(source).is_some() => (
            Class::Denied,
            "`drctl doctor` checks certificate and trust bundle; is that really your coordinator?",
        ),
        Dial::NotBelieved { .. } => (
            Class::Denied,
            "is the trust bundle that of your coordinator, and the endpoint right? `drctl doctor` shows both",
        ),
        Dial::Handshake { .. } | Dial::HandshakeTimedOut { .. } => (
            Class::Unreachable,
            "does a coordinator listen there, and speak TLS 1.3?",
        ),
    };
    (class, vec![hint.to_owned()])
}

fn system(error: &io::Error) -> Class {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => Class::NotFound,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Class::Denied,
        Kind::AlreadyExists => Class::Exists,
        Kind::StorageFull | Kind::QuotaExceeded => Class::NoSpace,
        // Whoever reads the result has had enough of it: nothing is unreachable.
        Kind::BrokenPipe => Class::Interrupted,
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
        for class in Class::ALL {
            assert!(class.code() >= Code::Usage, "{class:?}");
        }
    }
}
