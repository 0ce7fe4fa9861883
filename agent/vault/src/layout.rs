//! Names of the objects of a repository.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::id::{IndexId, KeyId, PackId, RecordId, SnapshotId};
use crate::storage::Key;

/// The one object whose name never changes.
pub const CONFIG: &str = "config";
/// Prefix of wrapped keys.
pub const KEYS: &str = "keys/";
/// Prefix of packs.
pub const PACKS: &str = "packs/";
/// Prefix of index objects.
pub const INDEX: &str = "index/";
/// Prefix of manifests.
pub const SNAPSHOTS: &str = "snapshots/";
/// Prefix of facts.
pub const FACTS: &str = "facts/";
/// Prefix of holds.
pub const HOLDS: &str = "holds/";
/// Prefix of drill records.
pub const DRILLS: &str = "drills/";
/// Prefix of ledger entries.
pub const LEDGER: &str = "ledger/";
/// Prefix of intents.
pub const INTENTS: &str = "intents/";
/// What a look at the store leaves where agents may not delete: it holds nothing and may be removed.
pub const DOCTOR: &str = "doctor/probe";

/// The config object.
pub fn config() -> Key {
    Key::new(CONFIG)
}

/// A wrapped key.
pub fn key(id: &KeyId) -> Key {
    Key::new(format!("{KEYS}{id}"))
}

/// A pack.
pub fn pack(id: &PackId) -> Key {
    let hex = id.to_string();
    Key::new(format!("{PACKS}{}/{hex}", &hex[..2]))
}

/// An index object.
pub fn index(id: &IndexId) -> Key {
    Key::new(format!("{INDEX}{id}"))
}

/// A manifest.
pub fn snapshot(time: Timestamp, id: &SnapshotId) -> Key {
    Key::new(format!("{SNAPSHOTS}{}-{id}", stamp(time)))
}

/// A record that belongs to a snapshot (`prefix` is [`FACTS`] or [`HOLDS`]).
pub fn companion(prefix: &str, snapshot: &SnapshotId, id: &RecordId) -> Key {
    Key::new(format!("{prefix}{snapshot}-{id}"))
}

/// A record that has a time (`prefix` is [`DRILLS`] or [`LEDGER`]).
pub fn dated(prefix: &str, time: Timestamp, id: &RecordId) -> Key {
    Key::new(format!("{prefix}{}-{id}", stamp(time)))
}

/// An intent that holds for `ttl` seconds.
pub fn intent(time: Timestamp, ttl: u64, id: &RecordId) -> Key {
    Key::new(format!("{INTENTS}{}-{ttl}-{id}", stamp(time)))
}

/// Reads the id out of a pack's name.
pub fn parse_pack(key: &Key) -> Option<PackId> {
    let (fan, hex) = key.as_str().strip_prefix(PACKS)?.split_once('/')?;
    let id: PackId = hex.parse().ok()?;
    (hex.get(..2) == Some(fan)).then_some(id)
}

/// Reads the id out of an index object's name.
pub fn parse_index(key: &Key) -> Option<IndexId> {
    key.as_str().strip_prefix(INDEX)?.parse().ok()
}

/// Reads the id out of a key object's name.
pub fn parse_key(key: &Key) -> Option<KeyId> {
    key.as_str().strip_prefix(KEYS)?.parse().ok()
}

/// Reads time and id out of a manifest's name.
pub fn parse_snapshot(key: &Key) -> Option<(Timestamp, SnapshotId)> {
    let (time, id) = key.as_str().strip_prefix(SNAPSHOTS)?.split_once('-')?;
    Some((parse_stamp(time)?, id.parse().ok()?))
}

/// Reads snapshot and record out of the name of facts or a hold.
pub fn parse_companion(prefix: &str, key: &Key) -> Option<(SnapshotId, RecordId)> {
    let (snapshot, id) = key.as_str().strip_prefix(prefix)?.split_once('-')?;
    Some((snapshot.parse().ok()?, id.parse().ok()?))
}

/// Reads time and record out of the name of a drill record or ledger entry.
pub fn parse_dated(prefix: &str, key: &Key) -> Option<(Timestamp, RecordId)> {
    let (time, id) = key.as_str().strip_prefix(prefix)?.split_once('-')?;
    Some((parse_stamp(time)?, id.parse().ok()?))
}

/// Reads time, seconds to live and record out of an intent's name.
pub fn parse_intent(key: &Key) -> Option<(Timestamp, u64, RecordId)> {
    let mut parts = key.as_str().strip_prefix(INTENTS)?.splitn(3, '-');
    let time = parse_stamp(parts.next()?)?;
    let ttl = parts.next()?.parse().ok()?;
    Some((time, ttl, parts.next()?.parse().ok()?))
}

/// `20261123T153354Z`: sorts by time, no characters that stores or file systems dislike.
fn stamp(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn parse_stamp(text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z')?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", digits).ok()?;
    let time = TimeZone::UTC.to_timestamp(time).ok()?;
    (stamp(time) == text).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let time: Timestamp = "2026-11-23T15:33:54Z".parse().unwrap();
        let id = SnapshotId::from_bytes([0xab; 16]);
        let key = snapshot(time, &id);
        assert_eq!(
            key.as_str(),
            format!("snapshots/20261123T153354Z-{}", "ab".repeat(16))
        );
        assert_eq!(parse_snapshot(&key), Some((time, id)));
        let record = RecordId::from_bytes([1; 16]);
        assert_eq!(
            parse_companion(FACTS, &companion(FACTS, &id, &record)),
            Some((id, record))
        );
        assert_eq!(
            parse_dated(DRILLS, &dated(DRILLS, time, &record)),
            Some((time, record))
        );
        assert_eq!(
            parse_intent(&intent(time, 3600, &record)),
            Some((time, 3600, record))
        );
        let pack_id = PackId::from_bytes([0xcd; 32]);
        assert_eq!(pack(&pack_id).as_str(), format!("packs/cd/{}", "cd".repeat(32)));
        assert_eq!(parse_pack(&pack(&pack_id)), Some(pack_id));
    }

    #[test]
    fn strange_names_are_not_ours() {
        for name in [
            "snapshots/x",
            "snapshots/20261323T153354Z-00",
            "snapshots/",
            "packs/aa/zz",
            "config",
        ] {
            let key = Key::new(name);
            assert!(parse_snapshot(&key).is_none(), "{name}");
            assert!(parse_pack(&key).is_none(), "{name}");
        }
        let misplaced = Key::new(format!("packs/aa/{}", "cd".repeat(32)));
        assert!(parse_pack(&misplaced).is_none());
    }
}
