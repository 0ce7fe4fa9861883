//! What strangers, slow clients and old certificates can cost.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;

use super::super::*;
use super::support::*;

fn stranger(ca: &Ca, clock: &Arc<Stood>) -> Connector {
    let root = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
    let time: Arc<dyn TimeProvider> = clock.clone();
    let domain = "acme.example".parse().unwrap();
    Connector::stranger(
        vec![fingerprint(&root)],
        domain,
        &time,
        ConnectTimeouts::default(),
    )
    .unwrap()
}

/// Lets so much time pass at once. It goes on by itself afterwards: while it stands, whoever waits for bytes on their
/// way would see every deadline pass before they have come.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn clients_that_say_nothing_are_dropped_and_keep_nobody_out() {
    let limits = Limits {
        handshakes: 2,
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let (ca, mut server, clock) = fleet_with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // All places are taken by those who say nothing; whoever comes after them gets in when their time is over. On a
    // machine on which a handshake takes so long it comes again.
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    soon(async {
        loop {
            if let Ok(mut line) = Line::dial(&connector(&agent), &server).await
                && line.works().await.is_ok()
            {
                return;
            }
        }
    })
    .await;
    for _ in &silent {
        assert_eq!(server.refusal().await, "handshake_timeout");
    }
}

#[tokio::test]
async fn one_address_can_not_take_all_places() {
    let limits = Limits {
        handshakes: 64,
        handshakes_per_address: 2,
        ..Limits::default()
    };
    let (ca, mut server, clock) = fleet_with(limits).await;
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    let silent = [
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.address).await.unwrap(),
    ];
    let one_more = Line::dial(&connector(&agent), &server).await;
    assert!(one_more.is_err(), "its address has all that it may have");
    assert_eq!(server.refusal().await, "too_many_handshakes");
    // Whoever leaves makes room.
    drop(silent);
    soon(async {
        loop {
            if let Ok(mut line) = Line::dial(&connector(&agent), &server).await {
                return line.works().await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    let (_ca, mut server, _clock) = fleet().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(server.refusal().await, "handshake");
}

#[tokio::test]
async fn strangers_are_few() {
    let limits = Limits {
        strangers: 1,
        ..Limits::default()
    };
    let (ca, mut server, clock) = fleet_with(limits).await;
    let mut first = Line::dial(&stranger(&ca, &clock), &server).await.unwrap();
    first.works().await.unwrap();
    let mut second = Line::dial(&stranger(&ca, &clock), &server).await.unwrap();
    second.ended().await;
    assert_eq!(server.refusal().await, "too_many_strangers");
    // Those whom we know are not kept out by them, and a place that is left is free again.
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    Line::dial(&connector(&agent), &server)
        .await
        .unwrap()
        .works()
        .await
        .unwrap();
    drop(first);
    soon(async {
        loop {
            let mut next = Line::dial(&stranger(&ca, &clock), &server).await.unwrap();
            if next.works().await.is_ok() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_strangers_time_is_short() {
    let limits = Limits {
        stranger_lifetime: Duration::from_secs(60),
        ..Limits::default()
    };
    let (ca, server, clock) = fleet_with(limits).await;
    let mut line = Line::dial(&stranger(&ca, &clock), &server).await.unwrap();
    line.works().await.unwrap();
    pass(Duration::from_secs(61)).await;
    line.ended().await;
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let (ca, server, clock) = fleet().await;
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    let short = Wanted {
        until: clock.now() + SignedDuration::from_hours(1),
        ..wanted(AGENT, clock.now())
    };
    let short = Somebody::new(&ca.issue(&short), &ca.pem).open(&clock).unwrap();
    let mut long = Line::dial(&connector(&agent), &server).await.unwrap();
    let mut line = Line::dial(&connector(&short), &server).await.unwrap();
    line.works().await.unwrap();
    pass(Duration::from_secs(3_000)).await;
    line.works().await.unwrap();
    pass(Duration::from_secs(601)).await;
    line.ended().await;
    long.works().await.unwrap();
}

#[tokio::test]
async fn who_stops_serving_stops_listening() {
    let (ca, server, clock) = fleet().await;
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    let (address, uri) = (server.address, server.uri());
    drop(server);
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = tower::Service::call(&mut connector(&agent), uri).await;
    assert!(
        matches!(refused, Err(ConnectError::Connect { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ca, clock) = (Ca::new("root"), Stood::new());
    let agent = Somebody::new(&ca.issue(&wanted(AGENT, clock.now())), &ca.pem)
        .open(&clock)
        .unwrap();
    let timeouts = ConnectTimeouts {
        handshake: Duration::from_millis(50),
        ..ConnectTimeouts::default()
    };
    let uri = format!("https://{}", listener.local_addr().unwrap())
        .parse::<Address>()
        .unwrap()
        .uri();
    let given_up = soon(tower::Service::call(&mut Connector::new(agent, timeouts), uri)).await;
    assert!(
        matches!(given_up, Err(ConnectError::HandshakeTimedOut { .. })),
        "{given_up:?}"
    );
}

#[test]
fn an_endpoint_is_https_and_nothing_more() {
    for (text, shown) in [
        ("https://dr.example.net:7443", "https://dr.example.net:7443"),
        ("https://dr.example.net", "https://dr.example.net:7443"),
        ("https://dr.example.net/", "https://dr.example.net:7443"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1"),
        ("https://[::1]:9000", "https://[::1]:9000"),
        ("https://[::1]", "https://[::1]:7443"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
    }
    for bad in [
        "",
        "dr.example.net:7443",
        "http://dr.example.net",
        "https://",
        "https://dr.example.net/path",
        "https://dr.example.net?x",
        "https://me@dr.example.net",
        "https://dr.example.net:port",
        "https://dr.example.net:99999",
    ] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
}
