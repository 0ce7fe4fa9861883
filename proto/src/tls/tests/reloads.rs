//! Files that change, fit or do not fit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::SignedDuration;

use super::super::*;
use super::support::*;

#[tokio::test]
async fn both_sides_take_new_certificates_under_live_connections() {
    let clock = Stood::new();
    let (old, new) = (Ca::new("root 1"), Ca::new("root 2"));
    let both = format!("{}{}", old.pem, new.pem);
    let coordinator = Somebody::new(&old.issue(&wanted(COORDINATOR, clock.now())), &both);
    let agent_files = Somebody::new(&old.issue(&wanted(AGENT, clock.now())), &both);
    let agent = agent_files.open(&clock).unwrap();
    let (server_files, server_dir) = (coordinator.files.clone(), coordinator.dir.path().to_owned());
    let mut server = Server::start(coordinator, &clock, Limits::default()).await;
    let mut live = Line::dial(&connector(&agent), &server).await.unwrap();
    live.works().await.unwrap();
    let first = server.peer().await.certificate.unwrap();

    let pair = new.issue(&wanted(COORDINATOR, clock.now()));
    let mut fresh = Fresh {
        private_key: &pair.key,
        certificate: &pair.certificate,
        trust_bundle: &both,
    };
    server_files.install(&fresh).unwrap();
    assert_eq!(server.tls.reload().unwrap(), Change::Replaced);
    agent_files.install(&new.issue(&wanted(AGENT, clock.now())), &new.pem);
    let mut generation = agent.generation();
    let follower = tokio::spawn(agent.clone().follow(Duration::from_secs(3_600)));
    agent.nudge();
    soon(generation.changed()).await.unwrap();
    follower.abort();

    live.works().await.unwrap();
    let mut renewed = Line::dial(&connector(&agent), &server).await.unwrap();
    renewed.works().await.unwrap();
    let second = server.peer().await.certificate.unwrap();
    assert_eq!(second.identity, first.identity);
    assert_ne!(second.serial, first.serial);
    // The old root is retired: what stands on it ends, also in the middle of nothing, and what does not lives on.
    fresh.trust_bundle = &new.pem;
    server_files.install(&fresh).unwrap();
    assert_eq!(server.tls.reload().unwrap(), Change::Replaced);
    live.ended().await;
    renewed.works().await.unwrap();
    // Who still comes with the old root's certificate is refused from now on.
    let late = Somebody::new(&old.issue(&wanted(AGENT, clock.now())), &both)
        .open(&clock)
        .unwrap();
    Line::dial(&connector(&late), &server)
        .await
        .unwrap()
        .ended()
        .await;
    assert_eq!(server.refusal().await, "unknown_authority");
    assert!(server_dir.exists());
}

#[test]
fn broken_files_change_nothing_and_say_why() {
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let pair = |uri: &str| ca.issue(&wanted(uri, clock.now()));
    let agent = Somebody::new(&pair(AGENT), &ca.pem);
    let tls = agent.open(&clock).unwrap();
    let before = tls.current().certificate().clone();
    assert_eq!(tls.reload().unwrap(), Change::Unchanged);
    let good = fs::read(&agent.files.certificate).unwrap();

    fs::write(&agent.files.certificate, &good[..good.len() / 2]).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(
        matches!(error, MaterialError::File(FileError::Pem { .. })),
        "{error:?}"
    );
    let problem = tls.problem().unwrap();
    assert!(
        problem.contains("own.pem") && problem.contains("line 1"),
        "{problem}"
    );

    fs::write(&agent.files.certificate, pair(AGENT).certificate).unwrap();
    assert!(matches!(tls.reload(), Err(MaterialError::Mismatch { .. })));

    agent.install(&pair("spiffe://acme.example/agent/db-2"), &ca.pem);
    assert!(matches!(tls.reload(), Err(MaterialError::IdentityChanged { .. })));
    assert_eq!(tls.current().certificate(), &before);

    agent.install(&pair(AGENT), &ca.pem);
    assert_eq!(tls.reload().unwrap(), Change::Replaced);
    assert_eq!(tls.problem(), None);
    assert_ne!(tls.current().certificate(), &before);
}

#[test]
fn old_files_that_come_back_end_the_problem() {
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem);
    let tls = agent.open(&clock).unwrap();
    let good = fs::read(&agent.files.trust_bundle).unwrap();
    fs::write(&agent.files.trust_bundle, "nothing").unwrap();
    assert!(matches!(
        tls.reload(),
        Err(MaterialError::File(FileError::NoCertificate { .. }))
    ));
    fs::write(&agent.files.trust_bundle, good).unwrap();
    assert_eq!(tls.reload().unwrap(), Change::Unchanged);
    assert_eq!(tls.problem(), None);
    assert_eq!(*tls.generation().borrow(), 0);
}

#[test]
fn after_every_step_of_an_installation_the_files_fit() {
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let old = ca.issue(&wanted(AGENT, clock.now()));
    let new = ca.issue(&wanted(AGENT, clock.now()));
    let agent = Somebody::new(&old, &ca.pem);
    let files = &agent.files;
    let loads = || Material::load(files, &(clock.clone() as std::sync::Arc<dyn TimeProvider>)).unwrap();
    let first = loads().certificate().clone();
    // The steps that `install` takes, each followed by a crash.
    let both = format!("{}\n{}", new.key, old.key);
    write(&files.private_key, both.as_bytes(), Secrecy::Private).unwrap();
    assert_eq!(loads().certificate(), &first);
    write(&files.certificate, new.certificate.as_bytes(), Secrecy::Public).unwrap();
    let second = loads().certificate().clone();
    assert_ne!(second, first);
    agent.install(&new, &ca.pem);
    assert_eq!(loads().certificate(), &second);
    assert_eq!(fs::read_to_string(&files.private_key).unwrap(), new.key);
}

#[test]
fn files_that_cannot_work_are_named_with_the_reason() {
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let now = clock.now();
    let said = |change: &dyn Fn(&Files), wanted: &Wanted| {
        let somebody = Somebody::new(&ca.issue(wanted), &ca.pem);
        change(&somebody.files);
        let error = somebody.open(&clock).unwrap_err();
        crate::causes::in_one_line(&error)
    };
    let good = wanted(AGENT, now);
    let nothing = |_: &Files| {};
    let hour = SignedDuration::from_hours(1);

    let text = said(&|files| fs::remove_file(&files.private_key).unwrap(), &good);
    assert!(
        text.contains("own.key") && text.contains("No such file"),
        "{text}"
    );
    let open = fs::Permissions::from_mode(0o644);
    let text = said(
        &|files| fs::set_permissions(&files.private_key, open.clone()).unwrap(),
        &good,
    );
    assert!(
        text.contains("own.key") && text.contains("0644") && text.contains("chmod 600"),
        "{text}"
    );
    let text = said(
        &|files| {
            fs::write(&files.private_key, &ca.pem).unwrap();
        },
        &good,
    );
    assert!(
        text.contains("own.key") && text.contains("no private key"),
        "{text}"
    );
    let text = said(&|files| fs::write(&files.trust_bundle, "").unwrap(), &good);
    assert!(
        text.contains("ca.pem") && text.contains("no certificate"),
        "{text}"
    );
    let text = said(
        &|files| {
            fs::copy(&files.certificate, &files.trust_bundle)
                .map(|_| ())
                .unwrap()
        },
        &good,
    );
    assert!(
        text.contains("ca.pem") && text.contains("not that of a certificate authority"),
        "{text}"
    );
    let late = Wanted {
        until: now - hour / 2,
        ..good.clone()
    };
    assert!(said(&nothing, &late).contains("expired at"));
    let early = Wanted {
        from: now + hour,
        ..good.clone()
    };
    assert!(said(&nothing, &early).contains("compare this host's clock"));
    let two = Wanted {
        uris: vec![AGENT.to_owned(), COORDINATOR.to_owned()],
        ..good.clone()
    };
    assert!(said(&nothing, &two).contains("several URIs"));
    let none = Wanted { uris: vec![], ..good };
    assert!(said(&nothing, &none).contains("carries no URI"));
}

#[test]
fn a_certificate_of_another_role_has_no_business_here() {
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem);
    let error = Reloading::open(
        agent.files.clone(),
        &[Role::Operator, Role::Viewer],
        clock.clone(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("that of agent, and operator or viewer is needed"),
        "{error}"
    );
}

#[test]
fn a_root_that_expired_is_left_out_and_only_all_of_them_are_an_error() {
    let (old, new, clock) = (Ca::new("root 1"), Ca::new("root 2"), Stood::new());
    // Roots of these tests end in 2036.
    clock.forward(SignedDuration::from_hours(24 * 365 * 11));
    let long = Wanted {
        until: clock.now() + SignedDuration::from_hours(1),
        ..wanted(AGENT, clock.now())
    };
    let agent = Somebody::new(&new.issue(&long), &format!("{}{}", old.pem, new.pem));
    let error = agent.open(&clock).unwrap_err();
    assert!(
        matches!(
            error,
            MaterialError::Roots {
                source: RootsError::AllExpired { .. },
                ..
            }
        ),
        "{error:?}"
    );
}
