//! What an error of the operating system means for a store.

use std::io;
use std::path::Path;

use crate::storage::{Error, Key, Operation};

/// Turns `error` of `operation` on the file `path` into the class that tells the caller what to do next.
pub(super) fn classify(operation: Operation, key: &str, path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind as Kind;
    let operation = operation.as_str();
    let reason = format!("{}: {error}", path.display());
    let key = key.to_owned();
    match error.kind() {
        Kind::NotFound => Error::NotFound(Key::new(key)),
        Kind::PermissionDenied => {
            let reason = format!("{reason}; give the user that runs this read and write permission there");
            Error::Denied {
                operation,
                key,
                reason,
            }
        }
        Kind::ReadOnlyFilesystem => {
            let reason = format!("{reason}; mount it writable, or look whether the disk failed");
            Error::Denied {
                operation,
                key,
                reason,
            }
        }
        Kind::StorageFull | Kind::QuotaExceeded => Error::NoSpace { key, reason },
        Kind::NotADirectory => {
            let reason = format!("{reason}; a file stands where the repository has a folder");
            Error::Configuration { reason }
        }
        // What a share that went away answers, and what it may take back.
        Kind::StaleNetworkFileHandle
        | Kind::TimedOut
        | Kind::HostUnreachable
        | Kind::NetworkDown
        | Kind::NetworkUnreachable
        | Kind::NotConnected
        | Kind::ConnectionReset
        | Kind::Interrupted
        | Kind::ResourceBusy => Error::Unavailable {
            operation,
            key,
            reason,
        },
        _ => Error::Other {
            operation,
            key,
            reason,
        },
    }
}
