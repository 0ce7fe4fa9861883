//! Errors of the engines: restore, backup, reading, the cut. Each is decided by its own variant, or by the source
//! that it carries.

use std::error::Error as StdError;

use dr_vault::{backup, read, restore, tree};

use super::Class;
use crate::{discover, drill, key, restore as selection};

/// The class of an engine's error, if the error itself decides it.
pub(super) fn known(error: &(dyn StdError + 'static)) -> Option<Class> {
    error
        .downcast_ref::<restore::Error>()
        .and_then(restoring)
        .or_else(|| error.downcast_ref::<selection::Error>().and_then(choosing))
        .or_else(|| error.downcast_ref::<backup::Error>().and_then(backing_up))
        .or_else(|| error.downcast_ref::<read::Error>().and_then(reading))
        .or_else(|| {
            error
                .downcast_ref::<Box<read::Error>>()
                .and_then(|error| reading(error))
        })
        .or_else(|| error.downcast_ref::<tree::StreamError>().and_then(listing))
        .or_else(|| {
            error
                .downcast_ref::<Box<tree::StreamError>>()
                .and_then(|error| listing(error))
        })
        .or_else(|| error.downcast_ref::<dr_lance::Error>().and_then(lance))
        .or_else(|| error.downcast_ref::<dr_lance::pins::Breach>().map(breach))
        .or_else(|| {
            error
                .downcast_ref::<dr_auditlog::capture::Error>()
                .and_then(capturing)
        })
        .or_else(|| error.downcast_ref::<dr_auditlog::Error>().and_then(verifying))
        .or_else(|| error.downcast_ref::<key::Error>().and_then(keys))
        .or_else(|| error.downcast_ref::<discover::Error>().and_then(discovering))
        .or_else(|| error.downcast_ref::<drill::Error>().and_then(drilling))
}

fn drilling(error: &drill::Error) -> Option<Class> {
    match error {
        drill::Error::NoSource { .. } => Some(Class::NotFound),
        drill::Error::Kind(_) | drill::Error::Loss { .. } => Some(Class::Usage),
        drill::Error::Repository(_) => None,
    }
}

fn restoring(error: &restore::Error) -> Option<Class> {
    use restore::Error as Restore;
    Some(match error {
        Restore::Pattern { .. }
        | Restore::SeveralSources { .. }
        | Restore::SourceName { .. }
        | Restore::Target { .. }
        | Restore::Overlap { .. }
        | Restore::Swap { .. } => Class::Usage,
        Restore::NoSource { .. } | Restore::NothingSelected { .. } | Restore::NothingFits { .. } => {
            Class::NotFound
        }
        Restore::TargetExists { .. } => Class::Exists,
        Restore::NoSpace { .. } => Class::NoSpace,
        Restore::WrongContent { .. } => Class::RepositoryDamaged,
        Restore::Cancelled => Class::Cancelled,
        Restore::Busy { .. } => Class::Busy,
        // What happened decides; where it can go on is in its own words.
        Restore::Interrupted { source, .. } => return restoring(source),
        _ => return None,
    })
}

fn choosing(error: &selection::Error) -> Option<Class> {
    match error {
        selection::Error::NoTable { .. } | selection::Error::NoSource { .. } => Some(Class::NotFound),
        selection::Error::TableAmbiguous { .. } => Some(Class::Usage),
        _ => None,
    }
}

fn backing_up(error: &backup::Error) -> Option<Class> {
    use backup::Error as Backup;
    Some(match error {
        Backup::Shrank { .. } | Backup::Changed { .. } => Class::SourceDamaged,
        Backup::Cancelled => Class::Cancelled,
        _ => return None,
    })
}

fn reading(error: &read::Error) -> Option<Class> {
    Some(match error {
        read::Error::NoSource { .. } => Class::NotFound,
        read::Error::Damaged { .. } => Class::RepositoryDamaged,
        _ => return None,
    })
}

fn listing(error: &tree::StreamError) -> Option<Class> {
    error.is_damage().then_some(Class::RepositoryDamaged)
}

fn lance(error: &dr_lance::Error) -> Option<Class> {
    use dr_lance::Error as Lance;
    Some(match error {
        Lance::Busy { .. } => Class::SourceBusy,
        Lance::SymbolicLink { .. } | Lance::StagingInside { .. } | Lance::IsTable { .. } => {
            Class::Configuration
        }
        Lance::NoPinMethod { .. } => Class::Denied,
        Lance::Decode { .. } => Class::SourceDamaged,
        Lance::Cancelled => Class::Cancelled,
        _ => return None,
    })
}

/// Pins that had to be let go: no damage and no mistake, the next snapshot may go better.
fn breach(error: &dr_lance::pins::Breach) -> Class {
    match error {
        dr_lance::pins::Breach::NoSpace { .. } => Class::NoSpace,
        dr_lance::pins::Breach::TooOld { .. } => Class::SourceBusy,
    }
}

fn capturing(error: &dr_auditlog::capture::Error) -> Option<Class> {
    use dr_auditlog::capture::Error as Capture;
    Some(match error {
        Capture::Missing { .. } => Class::NotFound,
        Capture::NotAFile { .. }
        | Capture::Pattern { .. }
        | Capture::PatternPlace { .. }
        | Capture::TooMany { .. } => Class::Configuration,
        Capture::Denied { .. } => Class::Denied,
        Capture::Truncated { .. } | Capture::Unstable { .. } => Class::SourceBusy,
        _ => return None,
    })
}

fn verifying(error: &dr_auditlog::Error) -> Option<Class> {
    matches!(error, dr_auditlog::Error::Cancelled).then_some(Class::Cancelled)
}

fn keys(error: &key::Error) -> Option<Class> {
    match error {
        key::Error::Start { .. } | key::Error::TimedOut { .. } | key::Error::Failed { .. } => {
            Some(Class::Key)
        }
        _ => None,
    }
}

fn discovering(error: &discover::Error) -> Option<Class> {
    matches!(error, discover::Error::Cancelled).then_some(Class::Cancelled)
}
