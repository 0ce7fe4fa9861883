//! The `config` object: two lines of JSON, the parameters and a check of the first line.
//!
//! The shape of two lines stays in all formats to come, so that an old version can tell "newer" from "damaged".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chunker::ChunkerParams;
use crate::cipher::Cipher;
use crate::error::{Error, Result};
use crate::id::{Digest, RepositoryId};
use crate::layout;

const FORMAT: &str = "drctl-repository";
/// Nothing larger is a config.
pub(super) const MAX_CONFIG: u64 = 64 << 10;

/// The repository's parameters, in clear in its `config` object; no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Always `drctl-repository`.
    pub format: String,
    /// The format's version.
    pub version: u32,
    /// The repository's id.
    pub id: RepositoryId,
    /// When it was made.
    pub created: Timestamp,
    /// How objects are sealed.
    pub cipher: Cipher,
    /// Where chunks are cut (without the seed).
    pub chunker: ChunkerParams,
}

/// What every version can read.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

impl Config {
    pub(super) fn new(id: RepositoryId, created: Timestamp, cipher: Cipher, chunker: ChunkerParams) -> Self {
        Self {
            format: FORMAT.into(),
            version: crate::FORMAT_VERSION,
            id,
            created,
            cipher,
            chunker,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|e| Error::internal(format!("encode config: {e}")))?;
        bytes.push(b'\n');
        let check = check_line(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8], location: &str) -> Result<Self> {
        let damaged = |reason: String| Error::damaged(&layout::config(), reason);
        let end = bytes
            .iter()
            .position(|&b| b == b'\n')
            .map(|n| n + 1)
            .ok_or_else(|| {
                damaged("it has no first line: it is damaged, or not a config of this program".into())
            })?;
        let (first, second) = bytes.split_at(end);
        if second != check_line(first).as_bytes() {
            return Err(damaged(
                "its second line is not the check of the first: it is damaged, or not a config of this program"
                    .into(),
            ));
        }
        let unreadable = |e: serde_json::Error| damaged(format!("its first line is not a config: {e}"));
        let preamble: Preamble = serde_json::from_slice(first).map_err(unreadable)?;
        if preamble.format != FORMAT {
            return Err(damaged(format!(
                "it says format `{}`, not `{FORMAT}`",
                preamble.format
            )));
        }
        if preamble.version > crate::FORMAT_VERSION {
            return Err(Error::NewerFormat {
                location: location.to_owned(),
                found: preamble.version,
                known: crate::FORMAT_VERSION,
            });
        }
        let config: Self = serde_json::from_slice(first).map_err(unreadable)?;
        config.chunker.validate()?;
        Ok(config)
    }
}

fn check_line(first: &[u8]) -> String {
    format!("{{\"blake3\":\"{}\"}}\n", Digest::of(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let created = "2026-11-23T15:33:54Z".parse().unwrap();
        let id = RepositoryId::from_random([1; 16]);
        Config::new(id, created, Cipher::Aes256Gcm, ChunkerParams::default())
    }

    #[test]
    fn is_two_lines_of_json() {
        let text = String::from_utf8(config().encode().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(
            text.starts_with(r#"{"format":"drctl-repository","version":1,"id":""#),
            "{text}"
        );
        assert_eq!(Config::decode(text.as_bytes(), "x").unwrap(), config());
    }

    #[test]
    fn every_bit_and_every_length_counts() {
        let bytes = config().encode().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Config::decode(&flipped, "x").unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "bit {bit}: {error}");
        }
        for len in 0..bytes.len() {
            assert!(Config::decode(&bytes[..len], "x").is_err());
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut newer = br#"{"format":"drctl-repository","version":2,"anything":"else"}"#.to_vec();
        newer.push(b'\n');
        let check = check_line(&newer);
        newer.extend_from_slice(check.as_bytes());
        let error = Config::decode(&newer, "s3://b/p").unwrap_err();
        assert!(
            matches!(
                error,
                Error::NewerFormat {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}
