//! Typed identifiers: one kind can not be passed as another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {digits} lower-case hexadecimal digits are expected")]
pub struct ParseIdError {
    what: &'static str,
    digits: usize,
    text: String,
}

/// Decodes exactly the form that [`hex::encode`] writes: no upper case, so that one id has one name.
fn decode<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], ParseIdError> {
    let wrong = || ParseIdError {
        what,
        digits: 2 * N,
        text: text.chars().take(80).collect(),
    };
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong());
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong())?;
    Ok(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                decode::<$len>($what, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// Names a chunk: keyed BLAKE3 of its plain bytes, so that equal content has one name within one repository
    /// and says nothing outside of it.
    ChunkId,
    32,
    "chunk id"
);
id!(
    /// Names a pack: BLAKE3 of the whole sealed object.
    PackId,
    32,
    "pack id"
);
id!(
    /// Names an index object: BLAKE3 of the whole sealed object.
    IndexId,
    32,
    "index id"
);
id!(
    /// Names a wrapped key: BLAKE3 of the whole object.
    KeyId,
    32,
    "key id"
);
id!(
    /// Names a snapshot: the first half of the BLAKE3 of its sealed manifest.
    SnapshotId,
    16,
    "snapshot id"
);
id!(
    /// Names a small sealed record (facts, hold, drill, ledger entry, intent): the first half of its BLAKE3.
    RecordId,
    16,
    "record id"
);
id!(
    /// A plain 256-bit BLAKE3 digest.
    Digest,
    32,
    "digest"
);

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first half: the form in which names of small objects carry it.
    pub fn half(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        half
    }
}

/// Names a repository: a random UUID (version 4) chosen by `init`, in clear in the `config` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryId(Uuid);

impl RepositoryId {
    /// Takes 16 random bytes as a version 4 UUID.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Takes the raw bytes as they are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_has_one_text() {
        let id = ChunkId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string().parse::<ChunkId>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<ChunkId>().is_err());
        assert!("abcd".parse::<ChunkId>().is_err());
        assert!("".parse::<SnapshotId>().is_err());
    }

    #[test]
    fn serde_uses_the_text() {
        let id = SnapshotId::from_bytes([7; 16]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<SnapshotId>(&json).unwrap(), id);
    }
}
