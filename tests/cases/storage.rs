//! Stores over real HTTP: the conformance body of all backends, and what a server that is ill makes of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dr_tests::moto::Moto;
use dr_tests::port::Port;
use dr_tests::s3_server::{Behaviour, S3Server};
use dr_vault::storage::conformance;
use dr_vault::storage::counting::{Counters, Outcome};
use dr_vault::storage::faulty::{Fault, Faults, Faulty};
use dr_vault::storage::retrying::{RetryOptions, Retrying};
use dr_vault::storage::s3::{S3Options, S3Storage};
use dr_vault::storage::{
    self, Error, Key, Operation, PutMode, PutOutcome, SharedStorage, Storage, StorageOptions, Timeouts,
};
use futures::TryStreamExt;

/// Short delays: the servers are in this machine.
const RETRIES: RetryOptions = RetryOptions {
    tries: 12,
    first_delay: Duration::from_millis(5),
    max_delay: Duration::from_millis(50),
    total: Duration::from_secs(300),
};

async fn s3(options: &S3Options, bucket: &str, prefix: &str) -> S3Storage {
    S3Storage::connect(bucket, prefix, options, &Timeouts::default())
        .await
        .unwrap()
}

async fn opened(server: &S3Server, retries: RetryOptions) -> (SharedStorage, Counters) {
    let options = StorageOptions {
        s3: server.options(),
        retries,
        ..StorageOptions::default()
    };
    let store = storage::open("s3://acme/hosts/db-1", &options).await.unwrap();
    (store, options.counters)
}

fn key() -> Key {
    Key::new("packs/0a/one")
}

async fn put(store: &dyn Storage, mode: PutMode) -> storage::Result<PutOutcome> {
    store.put(&key(), Bytes::from_static(b"one"), mode).await
}

#[tokio::test]
async fn s3_in_process_conforms() {
    let server = S3Server::with_bucket("acme").unwrap();
    let store = s3(&server.options(), "acme", "hosts/db-1").await;
    conformance::check(&store).await.unwrap();
    conformance::check_pages(&store).await.unwrap();
    assert!(store.capabilities().create_only, "learnt from its answers");

    // A neighbour with a longer name is not seen.
    let whole_bucket = s3(&server.options(), "acme", "").await;
    whole_bucket
        .put(&Key::new("hosts/db-11/config"), Bytes::new(), PutMode::Overwrite)
        .await
        .unwrap();
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    assert!(listed.iter().all(|meta| !meta.key.as_str().contains("db-11")));
    assert!(whole_bucket.head(&Key::new("hosts/db-1/config")).await.is_ok());
}

#[tokio::test]
async fn moto_conforms() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(error) => return dr_tests::skip("moto_conforms", &format!("{error:#}")),
    };
    moto.create_bucket("acme").unwrap();
    let store = s3(&moto.options(), "acme", "hosts/db-1").await;
    conformance::check(&store).await.unwrap();
    conformance::check_pages(&store).await.unwrap();
    assert!(store.capabilities().create_only);
}

#[tokio::test]
async fn s3_that_loses_every_fifth_call_conforms() {
    let server = S3Server::with_bucket("acme").unwrap();
    let faults = Faults::none();
    faults.randomly(11, 0.2, &[Fault::Before, Fault::After]);
    let faulty = Faulty::new(
        Arc::new(s3(&server.options(), "acme", "faulty").await),
        faults.clone(),
    );
    let store = Retrying::new(Arc::new(faulty), RETRIES);
    conformance::check(&store).await.unwrap();
    assert!(faults.hits() > 10);
}

#[tokio::test]
async fn refusals_and_broken_connections_are_tried_again() {
    let server = S3Server::with_bucket("acme").unwrap();
    let (store, counters) = opened(&server, RETRIES).await;
    for behaviour in [Behaviour::Refuse, Behaviour::Drop] {
        server.behave_for(3, behaviour);
        put(&*store, PutMode::Overwrite).await.unwrap();
    }
    assert!(counters.requests(Operation::Put, Outcome::Unavailable) >= 6);
    assert_eq!(counters.requests(Operation::Put, Outcome::Ok), 2);

    server.behave(Behaviour::Refuse);
    let error = put(&*store, PutMode::Overwrite).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
    for wanted in [
        "SlowDown",
        "gave up after 12 tries",
        server.endpoint(),
        "s3://acme/hosts/db-1",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_ours() {
    let server = S3Server::with_bucket("acme").unwrap();
    let (store, _) = opened(&server, RETRIES).await;
    server.behave_for(1, Behaviour::LoseAnswer);
    assert_eq!(put(&*store, PutMode::Create).await.unwrap(), PutOutcome::Stored);
    assert_eq!(put(&*store, PutMode::Create).await.unwrap(), PutOutcome::Exists);
}

#[tokio::test]
async fn what_a_retry_can_not_help_says_what_to_do() {
    let server = S3Server::with_bucket("acme").unwrap();
    let (store, counters) = opened(&server, RETRIES).await;
    put(&*store, PutMode::Overwrite).await.unwrap();

    server.behave(Behaviour::Expired);
    let expired = store.get(&key(), None).await.unwrap_err();
    assert!(
        matches!(&expired, Error::Denied { .. })
            && expired.to_string().contains("credentials expired: renew")
    );

    let expired = store.head(&key()).await.unwrap_err();
    assert!(
        matches!(&expired, Error::Denied { .. }) && expired.to_string().contains("credentials expired"),
        "a HEAD gives no reason by itself: {expired}"
    );

    server.behave(Behaviour::Forbid);
    let forbidden = store.delete(&key()).await.unwrap_err();
    assert!(
        matches!(&forbidden, Error::Denied { .. }) && forbidden.to_string().contains("allow s3:DeleteObject")
    );

    server.behave(Behaviour::Full);
    let full = put(&*store, PutMode::Overwrite).await.unwrap_err();
    assert!(
        matches!(&full, Error::NoSpace { .. }) && full.to_string().contains("XMinioStorageFull"),
        "{full}"
    );

    assert_eq!(counters.requests_of(Operation::Get), 1, "no second try");
    assert_eq!(counters.requests_of(Operation::Delete), 1);
    assert_eq!(counters.requests_of(Operation::Put), 2);
    assert_eq!(
        server.requests(),
        6,
        "the server's own count: a HEAD that was refused asks why by a GET"
    );
}

#[tokio::test]
async fn wrong_bucket_wrong_secret_and_nobody_there() {
    let server = S3Server::with_bucket("acme").unwrap();
    let absent = s3(&server.options(), "absent", "").await;
    for answer in [
        put(&absent, PutMode::Overwrite).await.map(drop),
        absent.list("").try_next().await.map(drop),
    ] {
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, Error::Configuration { reason } if reason.contains("no bucket absent")),
            "{error}"
        );
    }

    let mut options = server.options();
    options.credentials = storage::s3::S3Credentials::Static {
        access_key: "drctl-tests".to_owned(),
        secret_key: "wrong".into(),
        session_token: None,
    };
    let error = put(&s3(&options, "acme", "").await, PutMode::Overwrite)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Denied { .. }) && error.to_string().contains("check access key"),
        "{error}"
    );

    let port = Port::hold();
    let nobody = S3Options {
        endpoint: Some(format!("http://{}", port.address())),
        ..server.options()
    };
    let error = put(&s3(&nobody, "acme", "").await, PutMode::Overwrite)
        .await
        .unwrap_err();
    assert!(matches!(&error, Error::Unavailable { .. }), "{error}");
    assert!(
        error.to_string().to_lowercase().contains("connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_slow_server_meets_the_request_timeout() {
    let server = S3Server::with_bucket("acme").unwrap();
    let patient = s3(&server.options(), "acme", "").await;
    put(&patient, PutMode::Overwrite).await.unwrap();

    let timeouts = Timeouts {
        request: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let store = S3Storage::connect("acme", "", &server.options(), &timeouts)
        .await
        .unwrap();
    let delay = Duration::from_secs(300);
    server.delay(delay);
    let started = timer();
    for answer in [
        store.get(&key(), None).await.map(drop),
        store.list("").try_next().await.map(drop),
    ] {
        let error = answer.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { .. }), "{error}");
    }
    assert!(started.elapsed() < delay, "nobody waited for an answer");
}

/// Damage at rest is for the layers above to find: the store gives the bytes that are there.
#[tokio::test]
async fn damage_at_rest_is_read_as_it_is() {
    let server = S3Server::with_bucket("acme").unwrap();
    let (store, _) = opened(&server, RETRIES).await;
    put(&*store, PutMode::Overwrite).await.unwrap();
    std::fs::write(
        server.bucket_folder("acme").join("hosts/db-1/packs/0a/one"),
        b"two",
    )
    .unwrap();
    assert_eq!(store.get(&key(), None).await.unwrap(), &b"two"[..]);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test's own clock, which the product does not share"
)]
fn timer() -> Instant {
    Instant::now()
}
