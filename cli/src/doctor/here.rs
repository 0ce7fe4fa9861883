//! This host: the context, certificate, key, trust bundle.

use dr_proto::tls::{Certificate, Role};
use jiff::{SignedDuration, Timestamp};

use super::Finding;
use crate::contexts::Resolved;
use crate::coordinator::Coordinator;
use crate::error::Failure;
use crate::session::Session;
use crate::show::{length, short_time};

/// A certificate that has less left than this should be renewed.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

const ISSUE: &str = "an administrator issues one with `dr-coordinator pki issue`";

/// Answers with where to go on, if the files are usable.
pub(super) fn examine(session: &Session, findings: &mut Vec<Finding>) -> Option<Resolved> {
    let resolved = match session.resolve() {
        Ok(resolved) => resolved,
        Err(error) => {
            let failure = Failure::from(error);
            findings.push(Finding::of(
                "context",
                &failure,
                "mend that file, or name another with --config",
            ));
            return None;
        }
    };
    let endpoints: Vec<String> = resolved.endpoints.iter().map(ToString::to_string).collect();
    let context = match &resolved.context {
        Some(name) => format!("`{name}`: {}", endpoints.join(", ")),
        None => format!("from flags and variables: {}", endpoints.join(", ")),
    };
    findings.push(Finding::fine("context", context));
    match Coordinator::identify(&resolved) {
        Ok(certificate) => {
            findings.push(validity(&certificate, (session.now)()));
            findings.push(role(&certificate));
            Some(resolved)
        }
        Err(error) => {
            findings.push(Finding::of("certificate", &Failure::from(error), ISSUE));
            None
        }
    }
}

/// What has expired was refused before; what will soon is a warning.
fn validity(certificate: &Certificate, now: Timestamp) -> Finding {
    let left = certificate.not_after.duration_since(now);
    let found = format!("valid until {}", short_time(certificate.not_after));
    if left < SOON {
        let left = length(left.try_into().unwrap_or_default());
        return Finding::warning("certificate", format!("{found}: {left} left"), ISSUE);
    }
    Finding::fine("certificate", found)
}

fn role(certificate: &Certificate) -> Finding {
    let identity = certificate.identity.to_string();
    match certificate.identity.role {
        Role::Viewer => Finding::warning(
            "role",
            format!("{identity}: may look and change nothing"),
            "use an operator's certificate for commands that change something",
        ),
        _ => Finding::fine("role", identity),
    }
}

#[cfg(test)]
mod tests {
    use dr_proto::tls::Serial;

    use super::super::Grade;
    use super::*;

    fn certificate(identity: &str) -> Certificate {
        Certificate {
            identity: identity.parse().unwrap(),
            serial: Serial::from_bytes(&[1]),
            not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: "2026-03-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning() {
        let certificate = certificate("spiffe://acme/operator/ana");
        let grade = |now: &str| validity(&certificate, now.parse().unwrap()).grade;
        assert_eq!(grade("2026-02-01T00:00:00Z"), Grade::Fine);
        assert_eq!(grade("2026-02-25T00:00:00Z"), Grade::Warning);
    }

    #[test]
    fn a_viewer_is_told_what_it_can_not_do() {
        assert_eq!(
            role(&certificate("spiffe://acme/viewer/joe")).grade,
            Grade::Warning
        );
        assert_eq!(
            role(&certificate("spiffe://acme/operator/ana")).grade,
            Grade::Fine
        );
    }
}
