//! Who gets in, and whom we believe.

use rustls::ClientConfig;
use rustls::pki_types::{PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::material::provider;
use super::super::verify::ServerIdentityVerifier;
use super::super::*;
use super::support::*;

#[tokio::test]
async fn both_ends_know_each_other() {
    let (ca, mut server, clock) = fleet().await;
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    let mut line = Line::dial(&connector(&agent), &server).await.unwrap();
    line.works().await.unwrap();
    let peer = server.peer().await;
    assert_eq!(peer.identity().unwrap().to_string(), AGENT);
    assert_eq!(peer.certificate.as_ref(), Some(agent.current().certificate()));
    assert!(peer.address.ip().is_loopback());
}

/// Dials with a certificate that our own loader would not take, and says what the server made of it.
async fn refused(server: &mut Server, ca: &Ca, pair: &Pair, clock: &std::sync::Arc<Stood>) -> String {
    let domain: Domain = "acme.example".parse().unwrap();
    let root = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = provider();
    let verifier = ServerIdentityVerifier::by_bundle(roots.into(), domain, &provider);
    let time: std::sync::Arc<dyn TimeProvider> = clock.clone();
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(verifier))
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    // With TLS 1.3 the client is done before the server has judged it.
    let stream = TlsConnector::from(std::sync::Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let reason = server.refusal().await;
    drop(stream);
    assert!(
        server.peers.try_recv().is_err(),
        "a refused client must not become a connection"
    );
    reason
}

#[tokio::test]
async fn whoever_shows_a_wrong_certificate_stays_out() {
    let (ca, mut server, clock) = fleet().await;
    let now = clock.now();
    let other = Ca::new("root");
    let good = wanted(AGENT, now);
    let hour = jiff::SignedDuration::from_hours(1);

    let foreign = other.issue(&good);
    assert_eq!(
        refused(&mut server, &ca, &foreign, &clock).await,
        "unknown_authority"
    );
    let expired = ca.issue(&Wanted {
        until: now - hour / 2,
        ..good.clone()
    });
    assert_eq!(refused(&mut server, &ca, &expired, &clock).await, "expired");
    let early = ca.issue(&Wanted {
        from: now + hour,
        ..good.clone()
    });
    assert_eq!(refused(&mut server, &ca, &early, &clock).await, "not_yet_valid");
    let server_only = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let purpose = ca.issue(&Wanted {
        purposes: server_only,
        ..good.clone()
    });
    assert_eq!(
        refused(&mut server, &ca, &purpose, &clock).await,
        "bad_certificate"
    );
    for uris in [
        vec![],
        vec![AGENT.to_owned(), "spiffe://acme.example/operator/ana".to_owned()],
        vec![AGENT.to_owned(), AGENT.to_owned()],
        vec!["spiffe://other.example/agent/db-1".to_owned()],
        vec!["spiffe://acme.example/root/ana".to_owned()],
        vec!["https://acme.example/agent/db-1".to_owned()],
    ] {
        let nobody = ca.issue(&Wanted {
            uris: uris.clone(),
            ..good.clone()
        });
        assert_eq!(
            refused(&mut server, &ca, &nobody, &clock).await,
            "bad_identity",
            "{uris:?}"
        );
    }
    let fine = Somebody::new(&ca.issue(&good), &ca.pem).open(&clock).unwrap();
    Line::dial(&connector(&fine), &server)
        .await
        .unwrap()
        .works()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refused_client_is_told_that_it_is_about_its_certificate() {
    let (ca, server, clock) = fleet().await;
    let other = Ca::new("other");
    let bundle = format!("{}{}", other.pem, ca.pem);
    let agent = Somebody::new(&other.issue(&wanted(AGENT, clock.now())), &bundle)
        .open(&clock)
        .unwrap();
    let mut line = Line::dial(&connector(&agent), &server).await.unwrap();
    let error = line.ended().await.expect("an alert says why");
    assert_eq!(
        certificate_trouble(&error).as_deref(),
        Some("its authority is not trusted there")
    );
}

#[tokio::test]
async fn a_coordinator_that_is_none_is_not_believed() {
    let clock = Stood::new();
    let (ca, other) = (Ca::new("root"), Ca::new("root"));
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    let cases = [
        (&ca, "spiffe://acme.example/operator/ana", "not a coordinator"),
        (&ca, AGENT, "not a coordinator"),
        (&ca, "spiffe://other.example/coordinator/one", "of another domain"),
        (&other, COORDINATOR, "invalid peer certificate"),
    ];
    for (authority, uri, reason) in cases {
        let files = Somebody::new(&authority.issue(&wanted(uri, clock.now())), &ca.pem);
        let server = Server::start(files, &clock, Limits::default()).await;
        let error = Line::dial(&connector(&agent), &server).await.err();
        let error = error.unwrap_or_else(|| panic!("{uri} was believed"));
        let said = crate::causes::in_one_line(&error);
        assert!(said.contains(reason), "{uri}: {said}");
        assert!(certificate_trouble(&error).is_some(), "{uri}: {said}");
    }
}

#[tokio::test]
async fn a_coordinator_whose_certificate_expired_is_not_believed() {
    let (ca, server, clock) = fleet().await;
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    clock.forward(jiff::SignedDuration::from_hours(25));
    let error = Line::dial(&connector(&agent), &server)
        .await
        .err()
        .expect("it expired");
    assert!(matches!(error, ConnectError::Handshake { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stranger_knows_the_coordinator_by_a_fingerprint() {
    let (ca, mut server, clock) = fleet().await;
    let root = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
    let time: std::sync::Arc<dyn TimeProvider> = clock.clone();
    let stranger = |pins, domain: &str| {
        Connector::stranger(pins, domain.parse().unwrap(), &time, ConnectTimeouts::default()).unwrap()
    };
    let pin = fingerprint(&root);
    let mut line = Line::dial(&stranger(vec![pin], "acme.example"), &server)
        .await
        .unwrap();
    line.works().await.unwrap();
    assert_eq!(server.peer().await.identity(), None);
    let wrong = crate::model::Fingerprint([7; 32]);
    for connector in [
        stranger(vec![wrong], "acme.example"),
        stranger(vec![pin], "other.example"),
    ] {
        let refused = Line::dial(&connector, &server).await;
        assert!(matches!(refused, Err(ConnectError::NotBelieved { .. })));
    }
    // The fingerprint of something that is no authority vouches for nothing but itself.
    let leaf = fingerprint(server.tls.current().leaf());
    let refused = Line::dial(&stranger(vec![leaf], "acme.example"), &server).await;
    assert!(matches!(refused, Err(ConnectError::NotBelieved { .. })));
}

#[tokio::test]
async fn two_roots_are_trusted_while_one_replaces_the_other() {
    let (old, new, clock) = (Ca::new("root 1"), Ca::new("root 2"), Stood::new());
    let both = format!("{}{}", old.pem, new.pem);
    for server_ca in [&old, &new] {
        let files = Somebody::new(&server_ca.issue(&wanted(COORDINATOR, clock.now())), &both);
        let server = Server::start(files, &clock, Limits::default()).await;
        for agent_ca in [&old, &new] {
            let pair = agent_ca.issue(&wanted(AGENT, clock.now()));
            let agent = Somebody::new(&pair, &both).open(&clock).unwrap();
            Line::dial(&connector(&agent), &server)
                .await
                .unwrap()
                .works()
                .await
                .unwrap();
        }
    }
}
