use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dr_proto::model::{Domain, Identity, Role};
use dr_proto::tls::{
    Certificate, CertificateDer, Files, Fresh, Reloading, TimeProvider, UnixTime, fingerprint, read_bundle,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// One clock for the authority and for TLS.
#[derive(Debug)]
struct Hands(Mutex<Timestamp>);

impl Hands {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-03-01T12:00:00Z".parse().unwrap())))
    }

    fn at(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn forward(&self, days: i64) -> Timestamp {
        let mut at = self.0.lock().unwrap();
        *at += SignedDuration::from_hours(24 * days);
        *at
    }
}

impl dr_store::Clock for Hands {
    fn now(&self) -> Timestamp {
        self.at()
    }
}

impl TimeProvider for Hands {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.at().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn identity(role: Role, name: &str) -> Identity {
    Identity {
        domain: domain(),
        role,
        name: name.parse().unwrap(),
    }
}

fn domain() -> Domain {
    "acme.example".parse().unwrap()
}

fn authority(dir: &Path, now: Timestamp) -> Authority {
    Authority::create(&dir.join("pki"), domain(), now).unwrap()
}

fn request_of(key: &KeyPair, params: CertificateParams) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.pem");
    fs::write(&path, pem).unwrap();
    read_bundle(&path).unwrap().remove(0)
}

#[test]
fn only_the_key_of_a_request_counts() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let mut greedy = CertificateParams::new(vec!["coordinator.acme.example".to_owned()]).unwrap();
    let root_like = "spiffe://acme.example/operator/root".to_owned();
    greedy
        .subject_alt_names
        .push(SanType::URI(root_like.try_into().unwrap()));
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = new_key().unwrap();
    let request = Request::parse(&request_of(&key, greedy)).unwrap();
    let agent = identity(Role::Agent, "db-1");
    let issued = authority
        .issue(&request, &agent, &Names::default(), 7 * DAY, hands.at())
        .unwrap();
    let leaf = der(&issued.certificate_pem);
    let read = Certificate::parse(&leaf).unwrap();
    assert_eq!(read.identity, agent);
    assert_eq!(read.serial, issued.serial);
    assert_eq!(
        (read.not_before, read.not_after),
        (issued.not_before, issued.not_after)
    );
    assert_eq!(read.not_after, hands.at() + SignedDuration::from_hours(7 * 24));
    assert_eq!(dr_proto::tls::other_names(&leaf).unwrap(), (vec![], vec![]));
    let text = String::from_utf8_lossy(&leaf).into_owned();
    assert!(
        !text.contains("operator"),
        "nothing of the request's names may be left"
    );
}

#[test]
fn a_request_without_proof_or_of_an_odd_key_is_refused() {
    let key = new_key().unwrap();
    let pem = request_of(&key, CertificateParams::default());
    // The same request with the signature's last byte changed.
    let mut bytes = pem::parse(&pem).unwrap().into_contents();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes));
    assert!(matches!(Request::parse(&forged), Err(Error::Request(_))));
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let pem = request_of(&rsa, CertificateParams::default());
    assert!(matches!(Request::parse(&pem), Err(Error::RequestKey)));
    for (name, garbage) in [("empty", String::new()), ("text", "hello".to_owned())] {
        assert!(
            matches!(Request::parse(&garbage), Err(Error::Request(_))),
            "{name}"
        );
    }
    let large = "x".repeat(1 << 20);
    assert!(matches!(
        Request::parse(&large),
        Err(Error::RequestTooLarge { .. })
    ));
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        Request::parse(&request_of(&key, CertificateParams::default())).unwrap();
    }
}

#[test]
fn requests_of_one_key_have_one_fingerprint() {
    let (key, other) = (new_key().unwrap(), new_key().unwrap());
    let print = |key: &KeyPair| {
        Request::parse(&request_of(key, CertificateParams::default()))
            .unwrap()
            .key_fingerprint()
    };
    assert_eq!(print(&key), print(&key));
    assert_ne!(print(&key), print(&other));
}

#[test]
fn an_authority_is_made_once_and_its_key_is_its_own() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let missing = Authority::open(&dir.path().join("pki")).unwrap_err();
    assert!(missing.to_string().contains("pki init"), "{missing}");
    let made = authority(dir.path(), hands.at());
    let again = Authority::create(made.dir(), domain(), hands.at());
    assert!(matches!(again, Err(Error::Exists { .. })));
    let key = made.dir().join("root-1.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Authority::open(made.dir()).unwrap(), made);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Authority::open(made.dir()), Err(Error::Key(_))));
}

#[test]
fn a_damaged_or_newer_authority_says_so() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let path = authority.dir().join("authority.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(matches!(
        Authority::open(authority.dir()),
        Err(Error::Damaged { .. })
    ));
    fs::write(&path, text.replace("\"signing\"", "\"next\"")).unwrap();
    assert!(matches!(
        Authority::open(authority.dir()),
        Err(Error::Damaged { .. })
    ));
    fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(matches!(
        Authority::open(authority.dir()),
        Err(Error::Newer { found: 2, .. })
    ));
}

#[test]
fn what_the_authority_is_not_for_it_does_not_sign() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let issue = |identity: &Identity, lifetime| {
        authority
            .issue_with_key(identity, &Names::default(), lifetime, hands.at())
            .map(|_| ())
    };
    let foreign: Identity = "spiffe://other.example/operator/ana".parse().unwrap();
    assert!(matches!(issue(&foreign, DAY), Err(Error::OtherDomain { .. })));
    let ana = identity(Role::Operator, "ana");
    assert!(matches!(issue(&ana, Duration::ZERO), Err(Error::Lifetime { .. })));
    assert!(matches!(issue(&ana, Duration::MAX), Err(Error::Lifetime { .. })));
    assert!(matches!(issue(&ana, 4_000 * DAY), Err(Error::RootEnds { .. })));
    issue(&ana, 90 * DAY).unwrap();
}

#[test]
fn many_may_ask_at_a_time() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let serials = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (authority, serials, hands) = (&authority, &serials, &hands);
            scope.spawn(move || {
                for number in 0..5 {
                    let agent = identity(Role::Agent, &format!("db-{thread}-{number}"));
                    let lifetime = (7 + 3 * number) * DAY;
                    let issued = authority.issue_with_key(&agent, &Names::default(), lifetime, hands.at());
                    serials.lock().unwrap().insert(issued.unwrap().0.serial);
                }
            });
        }
    });
    assert_eq!(serials.into_inner().unwrap().len(), 20);
    let until = authority.roots().unwrap()[0].last_issued_until().unwrap();
    assert!(
        until >= hands.at() + SignedDuration::from_hours(19 * 24),
        "{until}"
    );
}

#[test]
fn a_rotation_waits_until_nobody_is_left_behind() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let issue = |name: &str, days| {
        let agent = identity(Role::Agent, name);
        authority
            .issue_with_key(&agent, &Names::default(), days * DAY, hands.at())
            .unwrap()
            .0
    };
    issue("db-1", 7);
    assert!(matches!(
        rotate::switch(&authority, false, hands.at()),
        Err(Error::Turn(_))
    ));
    assert!(matches!(
        rotate::retire(&authority, false, hands.at()),
        Err(Error::Turn(_))
    ));
    rotate::start(&authority, hands.at()).unwrap();
    assert!(matches!(
        rotate::start(&authority, hands.at()),
        Err(Error::Turn(_))
    ));
    assert!(matches!(
        rotate::switch(&authority, false, hands.at()),
        Err(Error::Early { .. })
    ));
    // Renewals bring the new root and move nothing: the switch may be done when the first certificate has ended.
    assert!(matches!(
        rotate::switch(&authority, false, hands.forward(6)),
        Err(Error::Early { .. })
    ));
    let renewed = issue("db-1", 7);
    assert_eq!(renewed.trust_bundle_pem.matches("BEGIN CERTIFICATE").count(), 2);
    rotate::switch(&authority, false, hands.forward(2)).unwrap();
    let roots = read_bundle(&authority.dir().join("ca.pem")).unwrap();
    let by_new = issue("db-2", 7);
    assert!(dr_proto::tls::names_issuer(
        &der(&by_new.certificate_pem),
        &roots[0]
    ));
    assert_eq!(fingerprint(&roots[0]), authority.roots().unwrap()[1].fingerprint);
    // What the old root signed just before the switch counts until its own end.
    let early = rotate::retire(&authority, false, hands.at());
    let Err(Error::Early { from, .. }) = early else {
        panic!("{early:?}")
    };
    assert!(from >= renewed.not_after);
    let left = rotate::retire(&authority, false, hands.forward(7)).unwrap();
    assert_eq!(left.len(), 1);
    assert!(
        !authority.dir().join("root-1.key").exists(),
        "the old key must be gone"
    );
    assert_eq!(
        issue("db-3", 7)
            .trust_bundle_pem
            .matches("BEGIN CERTIFICATE")
            .count(),
        1
    );
    // The next rotation takes the next number.
    let next = rotate::start(&authority, hands.at()).unwrap();
    assert_eq!(next.iter().map(|root| root.number).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_retirement_that_was_cut_short_destroys_the_key_when_it_is_given_again() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let key = authority.dir().join("root-1.key");
    let kept = fs::read(&key).unwrap();
    rotate::start(&authority, hands.at()).unwrap();
    rotate::switch(&authority, true, hands.at()).unwrap();
    rotate::retire(&authority, true, hands.at()).unwrap();
    fs::write(&key, kept).unwrap();
    rotate::retire(&authority, false, hands.at()).unwrap();
    assert!(!key.exists());
    assert!(matches!(
        rotate::retire(&authority, false, hands.at()),
        Err(Error::Turn(_))
    ));
}

/// A coordinator's files, issued and in use.
fn in_use(dir: &Path, authority: &Authority, hands: &Arc<Hands>) -> Arc<Reloading> {
    let files = Files {
        certificate: dir.join("coordinator.pem"),
        private_key: dir.join("coordinator.key"),
        trust_bundle: dir.join("ca.pem"),
    };
    let names = Names {
        dns: vec!["dr.acme.example".to_owned()],
        ip: vec!["127.0.0.1".parse().unwrap()],
    };
    let coordinator = identity(Role::Coordinator, "one");
    let (issued, key) = authority
        .issue_with_key(&coordinator, &names, 90 * DAY, hands.at())
        .unwrap();
    files
        .install(&Fresh {
            private_key: &key,
            certificate: &issued.certificate_pem,
            trust_bundle: &issued.trust_bundle_pem,
        })
        .unwrap();
    Reloading::open(files, &[Role::Coordinator], hands.clone()).unwrap()
}

#[test]
fn a_coordinator_renews_its_own_certificate_with_its_names() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let tls = in_use(dir.path(), &authority, &hands);
    let keeper = Keeper::new(authority, tls.clone(), hands.clone());
    assert_eq!(keeper.pass().unwrap(), Kept::AsItWas);
    hands.forward(59);
    assert_eq!(keeper.pass().unwrap(), Kept::AsItWas);
    hands.forward(2);
    let before = tls.current();
    let Kept::Certificate(until) = keeper.pass().unwrap() else {
        panic!("two thirds are over")
    };
    assert_eq!(until, hands.at() + SignedDuration::from_hours(90 * 24));
    tls.reload().unwrap();
    let now = tls.current();
    assert_ne!(now.certificate().serial, before.certificate().serial);
    assert_eq!(now.certificate().identity, before.certificate().identity);
    let (dns, ip) = dr_proto::tls::other_names(now.leaf()).unwrap();
    assert_eq!((dns.len(), ip.len()), (1, 1));
    assert_eq!(keeper.pass().unwrap(), Kept::AsItWas);
}

#[test]
fn a_coordinator_follows_a_rotation_by_itself() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let authority = authority(dir.path(), hands.at());
    let tls = in_use(dir.path(), &authority, &hands);
    // A root of somebody else in the bundle stays where it is.
    let bundle = tls.files().trust_bundle.clone();
    let foreign = Authority::create(&dir.path().join("other"), domain(), hands.at()).unwrap();
    let both = fs::read_to_string(&bundle).unwrap() + &foreign.trust_bundle().unwrap();
    fs::write(&bundle, both).unwrap();
    let keeper = Keeper::new(authority.clone(), tls.clone(), hands.clone());
    assert_eq!(keeper.pass().unwrap(), Kept::AsItWas);
    rotate::start(&authority, hands.at()).unwrap();
    assert_eq!(keeper.pass().unwrap(), Kept::Bundle);
    assert_eq!(read_bundle(&bundle).unwrap().len(), 3);
    rotate::switch(&authority, true, hands.at()).unwrap();
    assert!(matches!(keeper.pass().unwrap(), Kept::Certificate(_)));
    tls.reload().unwrap();
    assert_eq!(tls.current().roots().len(), 3);
    rotate::retire(&authority, true, hands.at()).unwrap();
    assert_eq!(keeper.pass().unwrap(), Kept::Bundle);
    let left: Vec<_> = read_bundle(&bundle).unwrap().iter().map(fingerprint).collect();
    let expected = [authority.fingerprints().unwrap(), foreign.fingerprints().unwrap()].concat();
    assert_eq!(left, expected);
    assert_eq!(keeper.pass().unwrap(), Kept::AsItWas);
}

#[test]
fn a_certificate_of_another_authority_is_left_alone() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Hands::new());
    let foreign = Authority::create(
        &dir.path().join("other"),
        "x.example".parse().unwrap(),
        hands.at(),
    )
    .unwrap();
    let tls = {
        let files = Files {
            certificate: dir.path().join("coordinator.pem"),
            private_key: dir.path().join("coordinator.key"),
            trust_bundle: dir.path().join("ca.pem"),
        };
        let who: Identity = "spiffe://x.example/coordinator/one".parse().unwrap();
        let (issued, key) = foreign
            .issue_with_key(&who, &Names::default(), 90 * DAY, hands.at())
            .unwrap();
        let fresh = Fresh {
            private_key: &key,
            certificate: &issued.certificate_pem,
            trust_bundle: &issued.trust_bundle_pem,
        };
        files.install(&fresh).unwrap();
        Reloading::open(files, &[Role::Coordinator], hands.clone()).unwrap()
    };
    let ours = authority(dir.path(), hands.at());
    let keeper = Keeper::new(ours, tls.clone(), hands.clone());
    hands.forward(80);
    // Agents of ours must be let in, so our root joins the bundle.
    assert_eq!(keeper.pass().unwrap(), Kept::Bundle);
    assert_eq!(keeper.pass().unwrap(), Kept::AsItWas);
}
