//! What an answer of S3, or none, means.

use std::error::Error as StdError;
use std::fmt::Display;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::causes::in_one_line;
use crate::storage::{Error, Key, Operation};

/// What was asked, of which store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    pub(super) key: &'a str,
    /// `s3://bucket/prefix`, with the endpoint if it is not AWS.
    pub(super) place: &'a str,
    pub(super) bucket: &'a str,
}

/// What the service said.
struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    region: Option<&'a str>,
}

/// Status and code of an answer that is not a success; zero and nothing if there was none.
pub(super) fn status_and_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> (u16, &str) {
    match error {
        SdkError::ServiceError(answer) => (
            answer.raw().status().as_u16(),
            answer.err().code().unwrap_or_default(),
        ),
        _ => (0, ""),
    }
}

/// Whether it is a refusal without a reason: wrong region, expired credentials and missing rights look alike.
pub(super) fn says_nothing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(status_and_code(error), (301 | 400 | 403, ""))
}

impl Request<'_> {
    /// The class of an SDK error, in words for people.
    pub(super) fn classify<E>(&self, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => self.answered(&Answer {
                status: answer.raw().status().as_u16(),
                code: answer.err().code().unwrap_or_default(),
                message: answer.err().message().unwrap_or_default(),
                region: answer.raw().headers().get("x-amz-bucket-region"),
            }),
            SdkError::TimeoutError(_) => self.unavailable("no answer within the request timeout"),
            SdkError::ResponseError(_) => {
                self.unavailable(format!("an answer that is not S3: {}", in_one_line(error)))
            }
            _ => self.not_sent(error),
        }
    }

    fn not_sent<E>(&self, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: StdError + 'static,
    {
        let text = in_one_line(error);
        // The SDK's own layers, which tell nobody anything.
        let text = ["dispatch failure: ", "io error: ", "other: "]
            .iter()
            .fold(text.as_str(), |text, layer| text.trim_start_matches(layer));
        match credentials_error(error) {
            Some(CredentialsError::CredentialsNotLoaded(_)) => self.denied(format!(
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, or attach a role \
                 to this host ({text})"
            )),
            Some(CredentialsError::InvalidConfiguration(_)) => {
                self.configuration(format!("the AWS profile can not be used: {text}"))
            }
            // A metadata or token service that failed may be back at the next try.
            Some(_) => self.unavailable(format!(
                "credentials could not be fetched: {text}; a host without a role needs AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or a profile"
            )),
            None if text.contains("invalid peer certificate") => self.configuration(format!(
                "the certificate of the endpoint is not trusted: {text}; add its issuer to the system's certificates, \
                 or name a file in SSL_CERT_FILE"
            )),
            None if matches!(error, SdkError::ConstructionFailure(_)) => {
                self.configuration(format!("the S3 options do not fit together: {text}"))
            }
            None => self.unavailable(text),
        }
    }

    fn answered(&self, answer: &Answer<'_>) -> Error {
        let said = answer.to_string();
        match (answer.code, answer.status) {
            ("NoSuchBucket", _) => self.configuration(format!("there is no bucket {}: create it, or correct the URL ({said})", self.bucket)),
            ("NoSuchKey" | "NotFound" | "NoSuchVersion", _) => Error::NotFound(Key::new(self.key)),
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) | ("", 301) => {
                let region = answer.region.map_or_else(String::new, |region| format!(" to {region}"));
                self.configuration(format!("bucket {} is in another region: set the s3 option region{region} ({said})", self.bucket))
            }
            ("InvalidBucketName", _) => self.configuration(format!("{} is no name for a bucket ({said})", self.bucket)),
            ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired", _) => self.denied(format!(
                "the credentials expired: renew them (a new login or session token, or a role that renews itself) ({said})"
            )),
            ("RequestTimeTooSkewed", _) => self.denied(format!("the clock of this host is wrong: set it, by NTP if possible ({said})")),
            ("InvalidAccessKeyId" | "InvalidToken" | "SignatureDoesNotMatch" | "InvalidClientTokenId", _) | (_, 401) => {
                self.denied(format!("the store does not know these credentials: check access key, secret and endpoint ({said})"))
            }
            _ if is_full(answer) => Error::NoSpace { key: self.key.to_owned(), reason: format!("{}: {said}", self.place) },
            ("InvalidObjectState", _) => self.other(format!("the object is archived: restore it to the standard class first ({said})")),
            (_, 403) => self.denied(format!("{}; allow s3:{} on {} to these credentials", said, self.right(), self.place)),
            ("RequestTimeout" | "SlowDown" | "InternalError" | "BadDigest" | "XAmzContentChecksumMismatch" | "OperationAborted" | "ConditionalRequestConflict" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded", _)
            | (_, 408 | 409 | 425 | 429 | 500 | 502 | 503 | 504) => self.unavailable(said),
            ("", 404) if matches!(self.operation, Operation::Head | Operation::Get) => Error::NotFound(Key::new(self.key)),
            _ => self.other(said),
        }
    }

    fn right(&self) -> &'static str {
        match self.operation {
            Operation::Put => "PutObject",
            Operation::Get | Operation::Head => "GetObject",
            Operation::List => "ListBucket",
            Operation::Delete => "DeleteObject",
        }
    }

    pub(super) fn unavailable(&self, reason: impl Display) -> Error {
        let reason = format!("{}: {reason}", self.place);
        Error::Unavailable {
            operation: self.operation.as_str(),
            key: self.key.to_owned(),
            reason,
        }
    }

    pub(super) fn other(&self, reason: impl Display) -> Error {
        let reason = format!("{}: {reason}", self.place);
        Error::Other {
            operation: self.operation.as_str(),
            key: self.key.to_owned(),
            reason,
        }
    }

    fn denied(&self, reason: impl Display) -> Error {
        let reason = format!("{}: {reason}", self.place);
        Error::Denied {
            operation: self.operation.as_str(),
            key: self.key.to_owned(),
            reason,
        }
    }

    fn configuration(&self, reason: impl Display) -> Error {
        Error::Configuration {
            reason: format!("{}: {reason}", self.place),
        }
    }
}

impl Display for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.message) {
            ("", _) => write!(f, "HTTP {}", self.status),
            (code, "") => write!(f, "HTTP {} {code}", self.status),
            (code, message) => write!(f, "HTTP {} {code}: {message}", self.status),
        }
    }
}

/// Quotas have a name of their own in each store.
fn is_full(answer: &Answer<'_>) -> bool {
    answer.status == 507
        || answer.code.contains("Quota")
        || answer.code.contains("StorageFull")
        || answer.code.contains("cap_exceeded")
        || answer.message.contains("cap exceeded")
}

/// The failure of a credentials provider among the causes.
fn credentials_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.filter_map(|cause| cause.downcast_ref()).next()
}

#[cfg(test)]
mod tests;
