//! Enrolment tokens: what an operator carries to a new host.
//!
//! A token is one line of text, `drt1.` and then base64url of a JSON object. It tells the host where the coordinator
//! is and how to know it (fingerprints of its roots), and tells the coordinator that somebody wanted this host (the
//! secret). The coordinator keeps only the secret's hash.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Domain;

/// What the text of a token begins with: its format.
const PREFIX: &str = "drt1.";
/// The longest text: tokens are carried by people and by cloud-init.
const LONGEST: usize = 8 << 10;

/// A token's id: names it in lists, opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(Uuid);

impl TokenId {
    /// A new id for a token made at `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(super::task::new_id(at))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| ParseTokenError::Id(text.to_owned()))
    }
}

/// The secret half of a token, 256 bits. It prints as `"..."`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// From bytes of a cryptographic random source.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it travels, base64url: for the request that shows it, and for nothing else.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What the coordinator keeps.
    pub fn hash(&self) -> SecretHash {
        SecretHash(blake3::derive_key("drctl 2026 enrolment token secret", &self.0))
    }
}

impl FromStr for Secret {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(ParseTokenError::Secret),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(\"...\")")
    }
}

/// Hash of a token's secret. It opens nothing, and prints as hex.
#[derive(Debug, Clone, Copy)]
pub struct SecretHash([u8; 32]);

/// In constant time: how far two hashes agree is nobody's business.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for SecretHash {}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl FromStr for SecretHash {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read_hex(text)
            .map(Self)
            .ok_or_else(|| ParseTokenError::Hash(text.to_owned()))
    }
}

/// SHA-256 of a certificate, as hex: what `openssl x509 -fingerprint -sha256` prints, without colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.replace(':', "").to_ascii_lowercase();
        read_hex(&bare)
            .map(Self)
            .ok_or_else(|| ParseTokenError::Fingerprint(text.to_owned()))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = ParseTokenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

fn write_hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&blake3::Hash::from_bytes(*bytes).to_hex())
}

fn read_hex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// Its name in lists.
    pub id: TokenId,
    /// What makes it count.
    pub secret: Secret,
    /// Where the coordinators are: `https://host:port`, at least one.
    pub endpoints: Vec<String>,
    /// The roots that a coordinator's certificate may come from, at least one.
    pub roots: Vec<Fingerprint>,
    /// The fleet that the host will belong to.
    pub domain: Domain,
    /// Not to be used after.
    pub expires: Timestamp,
}

/// The JSON inside. Unknown keys are left alone: a newer coordinator may say more.
#[derive(Serialize, Deserialize)]
struct Inside {
    id: TokenId,
    secret: String,
    endpoints: Vec<String>,
    roots: Vec<Fingerprint>,
    domain: String,
    expires: Timestamp,
}

impl EnrolmentToken {
    /// The text that a host is given.
    pub fn expose(&self) -> String {
        let inside = Inside {
            id: self.id,
            secret: self.secret.expose(),
            endpoints: self.endpoints.clone(),
            roots: self.roots.clone(),
            domain: self.domain.to_string(),
            expires: self.expires,
        };
        let json = serde_json::to_vec(&inside).expect("strings, ids and dates serialise");
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for EnrolmentToken {
    type Err = ParseTokenError;

    /// White space around it, and line breaks that a terminal put in, do no harm.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST {
            return Err(ParseTokenError::TooLong);
        }
        let text: String = text.split_ascii_whitespace().collect();
        let encoded = text.strip_prefix(PREFIX).ok_or(ParseTokenError::Prefix)?;
        let json = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| ParseTokenError::Incomplete)?;
        let inside: Inside = serde_json::from_slice(&json).map_err(ParseTokenError::Inside)?;
        if inside.endpoints.is_empty() {
            return Err(ParseTokenError::Missing("endpoint"));
        }
        if inside.roots.is_empty() {
            return Err(ParseTokenError::Missing("root"));
        }
        Ok(Self {
            id: inside.id,
            secret: inside.secret.parse()?,
            endpoints: inside.endpoints,
            roots: inside.roots,
            domain: inside.domain.parse().map_err(ParseTokenError::Domain)?,
            expires: inside.expires,
        })
    }
}

/// Why a text is no token, or no part of one. Never shows the text: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ParseTokenError {
    /// It begins with something else.
    #[error("this is not an enrolment token: it begins with `{PREFIX}`")]
    Prefix,
    /// It is longer than any token.
    #[error("this is not an enrolment token: it has more than {LONGEST} characters")]
    TooLong,
    /// It is cut off, or changed.
    #[error("the enrolment token is incomplete or changed: copy all of it, from `{PREFIX}` to its end")]
    Incomplete,
    /// Its inside is not what it should be.
    #[error("the enrolment token is incomplete or changed: copy all of it, from `{PREFIX}` to its end")]
    Inside(#[source] serde_json::Error),
    /// It names no endpoint or no root.
    #[error("the enrolment token names no {0}")]
    Missing(&'static str),
    /// It names no domain.
    #[error("the enrolment token names no trust domain")]
    Domain(#[source] super::ParseIdentityError),
    /// Its secret is not one.
    #[error("the secret of an enrolment token is 43 characters of base64url")]
    Secret,
    /// Not the id of a token.
    #[error("`{0}` is not the id of a token: a UUID is expected")]
    Id(String),
    /// Not a fingerprint.
    #[error("`{0}` is not a fingerprint: 64 hex digits are expected")]
    Fingerprint(String),
    /// Not a hash of a secret.
    #[error("`{0}` is not a hash: 64 hex digits are expected")]
    Hash(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrolmentToken {
        EnrolmentToken {
            id: TokenId::new("2026-01-02T03:04:05Z".parse().unwrap()),
            secret: Secret::from_random([7; 32]),
            endpoints: vec!["https://dr.example.net:7443".to_owned()],
            roots: vec![Fingerprint([9; 32])],
            domain: "acme.example".parse().unwrap(),
            expires: "2026-01-02T04:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_token_survives_being_carried() {
        let token = token();
        let text = token.expose();
        assert_eq!(text.parse::<EnrolmentToken>().unwrap(), token);
        let (head, tail) = text.split_at(70);
        let wrapped = format!("  {head}\n{tail}\r\n");
        assert_eq!(wrapped.parse::<EnrolmentToken>().unwrap(), token);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_refused_without_being_shown() {
        let text = token().expose();
        for end in 0..text.len() {
            let error = text[..end].parse::<EnrolmentToken>().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains(&token().secret.expose()), "{said}");
        }
        assert!(matches!(
            "sk-123".parse::<EnrolmentToken>(),
            Err(ParseTokenError::Prefix)
        ));
        let long = "x".repeat(LONGEST + 1);
        assert!(matches!(
            long.parse::<EnrolmentToken>(),
            Err(ParseTokenError::TooLong)
        ));
    }

    #[test]
    fn the_secret_is_shown_to_nobody_and_its_hash_opens_nothing() {
        let token = token();
        assert!(!format!("{token:?}").contains(&token.secret.expose()));
        let hash = token.secret.hash();
        assert_eq!(hash.to_string().parse::<SecretHash>().unwrap(), hash);
        assert_ne!(hash, Secret::from_random([8; 32]).hash());
        assert_ne!(hash.to_string(), blake3::hash(&[7; 32]).to_hex().to_string());
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it() {
        let print = Fingerprint([0xab; 32]);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(colons.parse::<Fingerprint>().unwrap(), print);
        assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
    }
}
