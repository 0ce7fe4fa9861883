//! One call: a deadline, a trace, another try where that is safe, and an error that says what to do.

use std::time::Duration;

use dr_proto::model::units::Period;
use dr_proto::tls::{self, Connector};
use dr_proto::{client, wire};
use tonic::{Code, Request, Response, Status};

use crate::error::Class;

/// The metadata key of the coordinator's stable word for an error.
const CODE: &str = "drctl-code";
/// The metadata key of what to do about it.
const HINT: &str = "drctl-hint";

/// How often a call is tried whose coordinator is not there at the moment.
const TRIES: u32 = 3;
/// How long to wait before the second try; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] client::Error),
    /// The coordinator said no, or the connection broke.
    #[error("{doing}: {}", message(.status))]
    Refused {
        /// What was asked for, as a verb phrase.
        doing: &'static str,
        /// The answer.
        status: Box<Status>,
    },
    /// The other end closed the connection over our certificate.
    #[error("{doing}: the coordinator refuses our certificate: {trouble}")]
    Certificate {
        /// What was asked for, as a verb phrase.
        doing: &'static str,
        /// Why.
        trouble: String,
    },
    /// No answer came in time.
    #[error("{doing}: no answer within {}", Period(*.limit))]
    TimedOut {
        /// What was asked for, as a verb phrase.
        doing: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// A stream ended before what it tells of had ended.
    #[error("the coordinator ended the stream")]
    StreamEnded,
    /// The answer makes no sense.
    #[error("{doing}: the coordinator's answer cannot be read")]
    Answer {
        /// What was asked for, as a verb phrase.
        doing: &'static str,
        /// Why not.
        #[source]
        source: wire::Error,
    },
}

/// What the other side says, or what happened to the connection.
fn message(status: &Status) -> String {
    match status.message() {
        "" => format!("{:?}", status.code()),
        message => message.to_owned(),
    }
}

impl CallError {
    /// What the other side answered.
    pub(super) fn refused(doing: &'static str, status: Status) -> Self {
        Self::Refused {
            doing,
            status: Box::new(status),
        }
    }

    /// A broken call says nothing of the certificate that broke it: the connector knows.
    pub(super) fn blame(self, connector: &Connector) -> Self {
        match self {
            Self::Refused { doing, status } if is_outage(&status) => {
                let trouble = tls::certificate_trouble(&*status).or_else(|| connector.refused());
                match trouble {
                    Some(trouble) => Self::Certificate { doing, trouble },
                    None => Self::Refused { doing, status },
                }
            }
            other => other,
        }
    }

    /// The kind of failure, unless the cause tells it.
    pub(crate) fn class(&self) -> Option<(Class, Vec<String>)> {
        match self {
            Self::Connect(error) => connect(error),
            Self::Certificate { .. } => Some((Class::Denied, vec![CERTIFICATE.to_owned()])),
            Self::StreamEnded => Some((Class::Unreachable, vec![DOCTOR.to_owned()])),
            Self::Refused { status, .. } => Some(refused(status)),
            Self::TimedOut { .. } => Some((
                Class::Unreachable,
                vec![
                    "--timeout allows more; whether the request was done is not known, asking again is safe"
                        .to_owned(),
                ],
            )),
            Self::Answer { source, .. } => {
                let hint = if source.is_unknown() {
                    "the coordinator is newer than this drctl: install the same version"
                } else {
                    "is drctl's version that of the coordinator? `drctl version --coordinator` compares them"
                };
                Some((Class::Version, vec![hint.to_owned()]))
            }
        }
    }

    /// Whether the coordinator may only be away for a moment.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Connect(error) => tls::certificate_trouble(error).is_none(),
            Self::TimedOut { .. } | Self::StreamEnded => true,
            Self::Refused { status, .. } => is_outage(status),
            Self::Answer { .. } | Self::Certificate { .. } => false,
        }
    }
}

/// What to do when nobody answers.
const DOCTOR: &str = "`drctl doctor` tells where it ends; trying again is safe";

/// What to do about a certificate.
const CERTIFICATE: &str = "`drctl doctor` checks the certificate; an administrator issues a new one with \
     `dr-coordinator pki issue`";

/// The kind of a connection that did not come about, unless its cause tells it.
fn connect(error: &client::Error) -> Option<(Class, Vec<String>)> {
    if tls::certificate_trouble(error).is_some() {
        return Some((Class::Denied, vec![CERTIFICATE.to_owned()]));
    }
    match error {
        client::Error::NoEndpoint => Some((
            Class::Configuration,
            vec!["`drctl login NAME --endpoint URL …` gives the context one".to_owned()],
        )),
        client::Error::TimedOut { .. } => Some((Class::Unreachable, vec![DOCTOR.to_owned()])),
        client::Error::Unreachable { .. } | client::Error::UserAgent { .. } => None,
    }
}

/// An answer of the connection rather than of a coordinator that read the request: gone, restarting, too slow. A
/// coordinator's own answers carry its word.
fn is_outage(status: &Status) -> bool {
    let broken = matches!(
        status.code(),
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Internal
    );
    broken && (status.metadata().get(CODE).is_none() || status.code() == Code::Unavailable)
}

/// The table from gRPC to kinds of failures, and with it to exit codes.
fn refused(status: &Status) -> (Class, Vec<String>) {
    let text = |key| status.metadata().get(key).and_then(|value| value.to_str().ok());
    let word = text(CODE).unwrap_or_default();
    let class = class_of(status.code(), word);
    let hint = match (text(HINT), class) {
        (Some(hint), _) => hint,
        (None, Class::Unreachable) => DOCTOR,
        (None, Class::Denied) => "`drctl doctor` shows which certificate and role you use",
        (None, Class::Busy) => "try again in a moment",
        (None, Class::Version) => "the coordinator is older than this drctl, or does not offer this",
        (None, Class::Coordinator) => "this is a mistake in the coordinator; its log has the particulars",
        _ => "",
    };
    (
        class,
        (!hint.is_empty()).then(|| hint.to_owned()).into_iter().collect(),
    )
}

fn class_of(code: Code, word: &str) -> Class {
    match code {
        Code::InvalidArgument if word.starts_with("plan") => Class::PlanInvalid,
        Code::InvalidArgument | Code::OutOfRange => Class::Usage,
        Code::NotFound => Class::NotFound,
        Code::AlreadyExists => Class::Exists,
        Code::Unauthenticated | Code::PermissionDenied => Class::Denied,
        Code::ResourceExhausted | Code::Aborted | Code::FailedPrecondition => Class::Busy,
        Code::Unimplemented => Class::Version,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Class::Unreachable,
        // A connection that broke in the middle, unless the coordinator says that it knows better.
        Code::Unknown | Code::Internal if word.is_empty() => Class::Unreachable,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Class::Coordinator,
    }
}

/// Asks once or a few times within `limit`. Every request of ours may be repeated: it reads, or carries an id, or
/// says what shall be rather than what shall change.
pub(super) async fn unary<Q: Clone, A>(
    doing: &'static str,
    limit: Duration,
    question: Q,
    call: impl AsyncFn(Request<Q>) -> Result<Response<A>, Status>,
) -> Result<A, CallError> {
    let ask = async {
        let mut pause = FIRST_PAUSE;
        for again in (0..TRIES).rev() {
            let status = match call(request(question.clone(), Some(limit))).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            if again == 0 || !is_outage(&status) || status.code() == Code::DeadlineExceeded {
                return Err(CallError::refused(doing, status));
            }
            tracing::debug!(doing, %status, "trying again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(CallError::TimedOut { doing, limit })
    };
    match tokio::time::timeout(limit, ask).await {
        Ok(answer) => answer,
        Err(_) => Err(CallError::TimedOut { doing, limit }),
    }
}

/// A request that carries the trace of the command and, for the coordinator, how long we wait.
pub(super) fn request<Q>(question: Q, limit: Option<Duration>) -> Request<Q> {
    let mut request = Request::new(question);
    if let Some(limit) = limit {
        request.set_timeout(limit);
    }
    dr_telemetry::propagation::inject(&tracing::Span::current(), request.metadata_mut());
    request
}

#[cfg(test)]
mod tests {
    use dr_proto::model::exit::Code as Exit;
    use dr_terminal::Classify;

    use super::*;

    #[test]
    fn every_grpc_code_has_its_exit_code() {
        for (code, word, exit) in [
            (Code::Unavailable, "", Exit::Unreachable),
            (Code::DeadlineExceeded, "", Exit::Unreachable),
            (Code::Cancelled, "", Exit::Unreachable),
            (Code::Unauthenticated, "no_certificate", Exit::Denied),
            (Code::PermissionDenied, "role", Exit::Denied),
            (Code::NotFound, "not_found", Exit::NotFound),
            (Code::InvalidArgument, "invalid_request", Exit::Usage),
            (Code::OutOfRange, "", Exit::Usage),
            (Code::InvalidArgument, "plan_invalid", Exit::Configuration),
            (Code::AlreadyExists, "", Exit::NoSpace),
            (Code::ResourceExhausted, "busy", Exit::Busy),
            (Code::Aborted, "plan_changed", Exit::Busy),
            (Code::FailedPrecondition, "run_state", Exit::Busy),
            (Code::Unimplemented, "unknown_method", Exit::Configuration),
            (Code::Internal, "authority", Exit::Internal),
            (Code::Internal, "", Exit::Unreachable),
            (Code::Unknown, "", Exit::Unreachable),
            (Code::DataLoss, "", Exit::Internal),
        ] {
            assert_eq!(class_of(code, word).code(), exit, "{code:?} {word}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_away_for_a_moment_is_asked_again() {
        let tries = std::cell::Cell::new(0);
        let answer = unary("ask", Duration::from_secs(30), (), async |_| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 {
                Err(Status::unavailable("restarting"))
            } else {
                Ok(Response::new(7))
            }
        });
        assert_eq!(answer.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_is_not_asked_again_and_silence_ends() {
        let tries = std::cell::Cell::new(0);
        let no = unary::<(), ()>("ask", Duration::from_secs(30), (), async |_| {
            tries.set(tries.get() + 1);
            Err(Status::permission_denied("viewers only read"))
        });
        let error = no.await.unwrap_err();
        assert_eq!((tries.get(), error.class().unwrap().0), (1, Class::Denied));
        assert_eq!(error.to_string(), "ask: viewers only read");
        let silence = unary::<(), ()>("ask", Duration::from_secs(2), (), async |_| {
            std::future::pending().await
        });
        let error = silence.await.unwrap_err();
        assert_eq!(error.to_string(), "ask: no answer within 2s");
        assert!(error.is_outage());
    }
}
