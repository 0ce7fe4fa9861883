//! Certificates of an authority that is not ours.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::*;
use super::support::*;

#[tokio::test]
async fn a_chain_with_an_authority_in_between_is_fine() {
    let (root, clock) = (Ca::new("corporate root"), Stood::new());
    let between = root.below("corporate issuing");
    let brought = |uri: &str| {
        let mut pair = between.issue(&wanted(uri, clock.now()));
        pair.certificate.push_str(&between.pem);
        pair
    };
    let server = Server::start(
        Somebody::new(&brought(COORDINATOR), &root.pem),
        &clock,
        Limits::default(),
    )
    .await;
    let agent = Somebody::new(&brought(AGENT), &root.pem).open(&clock).unwrap();
    Line::dial(&connector(&agent), &server)
        .await
        .unwrap()
        .works()
        .await
        .unwrap();
    // Without the certificate in between nobody can tell where it comes from.
    let mut short = brought(AGENT);
    short
        .certificate
        .truncate(short.certificate.len() - between.pem.len());
    let agent = Somebody::new(&short, &root.pem).open(&clock).unwrap();
    Line::dial(&connector(&agent), &server)
        .await
        .unwrap()
        .ended()
        .await;
}

/// The steps of `deploy/runbooks/certificates.md`, as they stand there.
fn by_hand(dir: &Path, kind: &[&str]) -> bool {
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl")
            .args(arguments)
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    if Command::new("openssl").arg("version").output().is_err() {
        return false;
    }
    let new_key = |name: &str| openssl(&[&["genpkey", "-out", name], kind].concat());
    new_key("root.key");
    let subject = "/CN=corporate root";
    openssl(&[
        "req", "-x509", "-new", "-key", "root.key", "-subj", subject, "-days", "3650", "-out", "ca.pem",
    ]);
    for (name, uri, purpose) in [
        ("coordinator", COORDINATOR, "serverAuth,clientAuth"),
        ("agent", AGENT, "clientAuth"),
    ] {
        let (key, csr, certificate) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.pem"),
        );
        new_key(&key);
        openssl(&[
            "req",
            "-new",
            "-key",
            &key,
            "-subj",
            &format!("/CN={name}"),
            "-out",
            &csr,
        ]);
        let extensions = format!(
            "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage={purpose}\n\
             subjectAltName=URI:{uri}\n"
        );
        fs::write(dir.join("extensions"), extensions).unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "ca.pem",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-days",
            "90",
            "-extfile",
            "extensions",
            "-out",
            &certificate,
        ]);
    }
    true
}

#[tokio::test]
async fn certificates_made_by_hand_work() {
    let kinds: [&[&str]; 2] = [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ];
    for kind in kinds {
        let dir = tempfile::tempdir().unwrap();
        if !by_hand(dir.path(), kind) {
            // No openssl here: the chain above was made by another library than the one that reads it.
            return;
        }
        let files = |name: &str| Files {
            certificate: dir.path().join(format!("{name}.pem")),
            private_key: dir.path().join(format!("{name}.key")),
            trust_bundle: dir.path().join("ca.pem"),
        };
        let time: std::sync::Arc<dyn TimeProvider> = std::sync::Arc::new(SystemTime);
        let open = |name: &str| Reloading::open(files(name), ROLES, time.clone()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, mut refusals) = tokio::sync::mpsc::unbounded_channel();
        let mut incoming = accept(
            listener,
            open("coordinator"),
            Limits::default(),
            std::sync::Arc::new(Told::new(told)),
        );
        let uri = format!("https://{address}").parse::<Address>().unwrap().uri();
        let dialled = soon(tower::Service::call(&mut connector(&open("agent")), uri))
            .await
            .unwrap();
        let accepted = soon(tokio_stream::StreamExt::next(&mut incoming))
            .await
            .unwrap()
            .unwrap();
        let peer = tonic::transport::server::Connected::connect_info(&accepted);
        assert_eq!(peer.identity().unwrap().to_string(), AGENT);
        drop(dialled);
        assert!(refusals.try_recv().is_err());
        // The same files with a protocol that is too old.
        let mut old = tokio::process::Command::new("openssl");
        old.args([
            "s_client",
            "-tls1_2",
            "-cert",
            "agent.pem",
            "-key",
            "agent.key",
            "-CAfile",
            "ca.pem",
        ])
        .args(["-connect", &address.to_string()])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::null());
        let old = soon(old.output()).await.unwrap();
        assert!(!old.status.success(), "TLS 1.2 must not work");
        assert_eq!(soon(refusals.recv()).await.unwrap(), "handshake");
    }
}
