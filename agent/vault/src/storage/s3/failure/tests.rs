use super::*;

const PLACE: &str = "s3://acme/hosts/db-1";

fn request(operation: Operation) -> Request<'static> {
    Request {
        operation,
        key: "packs/0a/one",
        place: PLACE,
        bucket: "acme",
    }
}

fn class(status: u16, code: &str) -> Error {
    request(Operation::Put).answered(&Answer {
        status,
        code,
        message: "said",
        region: Some("eu-west-1"),
    })
}

#[test]
fn what_may_pass_is_tried_again() {
    let answers = [
        (500, "InternalError"),
        (503, "SlowDown"),
        (503, ""),
        (429, ""),
        (409, "ConditionalRequestConflict"),
        (400, "RequestTimeout"),
        (400, "BadDigest"),
        (504, ""),
    ];
    for (status, code) in answers {
        assert!(!class(status, code).is_permanent(), "{status} {code}");
    }
}

#[test]
fn what_needs_rights_or_time_is_denied_and_says_what_to_do() {
    let answers = [
        (400, "ExpiredToken", "credentials expired: renew"),
        (403, "RequestTimeTooSkewed", "clock of this host"),
        (403, "InvalidAccessKeyId", "check access key"),
        (403, "SignatureDoesNotMatch", "check access key"),
        (403, "AccessDenied", "allow s3:PutObject on s3://acme/hosts/db-1"),
        (403, "", "allow s3:PutObject"),
        (401, "", "check access key"),
    ];
    for (status, code, wanted) in answers {
        let error = class(status, code);
        assert!(matches!(error, Error::Denied { .. }), "{status} {code}: {error}");
        assert!(
            error.to_string().contains(wanted) && error.to_string().contains(PLACE),
            "{error}"
        );
    }
}

#[test]
fn what_needs_another_configuration_names_it() {
    let answers = [
        (404, "NoSuchBucket", "no bucket acme"),
        (301, "PermanentRedirect", "region to eu-west-1"),
        (301, "", "region to eu-west-1"),
        (400, "AuthorizationHeaderMalformed", "region to eu-west-1"),
        (400, "InvalidBucketName", "no name for a bucket"),
    ];
    for (status, code, wanted) in answers {
        let error = class(status, code);
        assert!(
            matches!(error, Error::Configuration { .. }) && error.to_string().contains(wanted),
            "{error}"
        );
    }
}

#[test]
fn a_full_store_has_many_names() {
    let answers = [
        (507, ""),
        (507, "XMinioStorageFull"),
        (400, "XMinioAdminBucketQuotaExceeded"),
        (403, "QuotaExceeded"),
        (403, "storage_cap_exceeded"),
    ];
    for (status, code) in answers {
        assert!(
            matches!(class(status, code), Error::NoSpace { .. }),
            "{status} {code}"
        );
    }
}

#[test]
fn an_absent_object_is_told_from_an_absent_answer() {
    let nothing = Answer {
        status: 404,
        code: "",
        message: "",
        region: None,
    };
    assert!(matches!(
        request(Operation::Head).answered(&nothing),
        Error::NotFound(_)
    ));
    assert!(matches!(
        request(Operation::List).answered(&nothing),
        Error::Other { .. }
    ));
    assert!(matches!(class(404, "NoSuchKey"), Error::NotFound(_)));
    assert!(
        matches!(class(403, "InvalidObjectState"), Error::Other { reason, .. } if reason.contains("archived"))
    );
}

#[test]
fn causes_are_said_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("dispatch failure")]
    struct Outer(#[source] std::io::Error);
    let error = Outer(std::io::Error::other("connection refused"));
    assert_eq!(in_one_line(&error), "dispatch failure: connection refused");
}
