//! From an error to what a client sees, in one place: a gRPC code, a stable word in the metadata `drctl-code`, what to
//! do in `drctl-hint`.

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::access::refusals::Reason;
use crate::handle::Error;

/// The metadata key of the stable word.
pub const CODE: &str = "drctl-code";
/// The metadata key of what to do.
pub const HINT: &str = "drctl-hint";

/// An answer with a stable word and, unless it is empty, what to do.
pub fn answer(code: Code, word: &str, message: &str, hint: &str) -> Status {
    let mut metadata = MetadataMap::new();
    for (key, text) in [(CODE, word), (HINT, hint)] {
        if let Some(value) = value(text) {
            metadata.insert(key, value);
        }
    }
    Status::with_metadata(code, message, metadata)
}

/// Text as a metadata value, which holds visible ASCII only.
fn value(text: &str) -> Option<MetadataValue<Ascii>> {
    if text.is_empty() {
        return None;
    }
    let plain: String = text
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    plain.parse().ok()
}

/// A refused call.
pub(crate) fn refused(reason: Reason, message: &str, hint: &str) -> Status {
    let code = match reason {
        Reason::NoCertificate => Code::Unauthenticated,
        Reason::UnknownMethod => Code::Unimplemented,
        Reason::Role | Reason::Revoked | Reason::OtherDomain | Reason::WrongHost | Reason::Token => {
            Code::PermissionDenied
        }
    };
    answer(code, reason.word(), message, hint)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, word, hint) = (error.grpc(), error.code(), error.hint());
        let message = dr_terminal::in_one_line(&error);
        if matches!(code, Code::Internal | Code::Unavailable | Code::DataLoss) {
            tracing::error!(code = word, error = message, "a call failed");
        }
        answer(code, word, &message, &hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_its_stable_word() {
        let status = refused(Reason::Role, "no", "ask … somebody");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.metadata().get(CODE).unwrap(), "role");
        assert_eq!(status.metadata().get(HINT).unwrap(), "ask ? somebody");
    }
}
