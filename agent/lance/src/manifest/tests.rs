use proptest::prelude::*;

use super::testing::Draft;
use super::*;
use crate::fixtures::{archives, files_below, unpack};
use crate::patch;

fn fixture_manifests() -> Vec<Vec<u8>> {
    let mut manifests = Vec::new();
    for archive in archives() {
        let fixture = unpack(&archive);
        let names = files_below(&fixture.database)
            .into_iter()
            .filter(|path| path.ends_with(".manifest"));
        manifests.extend(names.map(|name| std::fs::read(fixture.database.join(name)).unwrap()));
    }
    manifests
}

/// A small generator, so that the loop is the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).unwrap_or(0)
    }
}

/// Decoding must answer, whatever the bytes; what it lets pass must be safe to act on.
fn exercise(bytes: &[u8]) -> bool {
    let _ = patch::base_paths(bytes, "/srv".as_ref(), "/var".as_ref());
    let Ok(manifest) = Manifest::decode(bytes) else {
        return false;
    };
    let closure = crate::closure::Closure::of(&manifest);
    for reference in &closure.files {
        assert!(layout::is_safe_relative(&reference.path), "{:?}", reference.path);
    }
    let _ = (manifest.rows(), manifest.deleted_rows(), manifest.opaque());
    true
}

#[test]
fn real_manifests_decode() {
    let manifests = fixture_manifests();
    for bytes in &manifests {
        let manifest = Manifest::decode(bytes).unwrap();
        assert!(manifest.version > 0 && manifest.opaque().is_none() && !manifest.columns.is_empty());
        assert!(manifest.timestamp.is_some());
    }
    assert!(manifests.is_empty() || manifests.len() > 20);
}

#[test]
fn every_truncation_is_an_error() {
    let manifests = fixture_manifests();
    let draft = Draft {
        version: 1,
        files: vec![("a.lance".into(), 3, None)],
        ..Draft::default()
    }
    .encode();
    for bytes in manifests.iter().step_by(7).chain([&draft]) {
        for len in 0..bytes.len() {
            assert!(
                Manifest::decode(&bytes[..len]).is_err(),
                "cut to {len} of {}",
                bytes.len()
            );
        }
    }
    assert_eq!(Manifest::decode(b""), Err(DecodeError::Empty));
}

#[test]
fn mutated_manifests_never_panic() {
    let manifests = fixture_manifests();
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..20_000 {
        let Some(original) = manifests.get(round % manifests.len().max(1)) else {
            return;
        };
        let mut bytes = original.clone();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(bytes.len());
            match dice.roll(5) {
                0 => bytes[at] ^= 1 << dice.roll(8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xff][dice.roll(4)],
                2 => bytes.truncate(at.max(1)),
                3 => bytes.insert(at, u8::try_from(dice.roll(256)).unwrap()),
                _ => {
                    // The footer's position, with extreme values.
                    let end = bytes.len();
                    if end >= FOOTER {
                        let extreme = [i64::MAX, i64::MIN, -1, end as i64, end as i64 - 17][dice.roll(5)];
                        bytes[end - FOOTER..end - 8].copy_from_slice(&extreme.to_le_bytes());
                    }
                }
            }
        }
        if exercise(&bytes) {
            decoded += 1
        } else {
            refused += 1
        }
    }
    assert!(refused > decoded / 10, "{decoded} decoded, {refused} refused");
}

#[test]
fn paths_that_leave_the_table_are_refused() {
    for path in ["../x.lance", "/etc/passwd", "a//b", ""] {
        let bytes = Draft {
            version: 1,
            files: vec![(path.into(), 1, None)],
            ..Draft::default()
        }
        .encode();
        assert_eq!(
            Manifest::decode(&bytes),
            Err(DecodeError::UnsafePath { path: path.into() })
        );
    }
    let bytes = Draft {
        version: 1,
        files: vec![("a".into(), 1, Some(9))],
        ..Draft::default()
    }
    .encode();
    assert_eq!(Manifest::decode(&bytes), Err(DecodeError::UnknownBase { id: 9 }));
}

#[test]
fn later_formats_are_opaque() {
    let bytes = Draft {
        version: 1,
        reader_flags: 1 << 20 | 1,
        ..Draft::default()
    }
    .encode();
    assert_eq!(
        Manifest::decode(&bytes).unwrap().opaque(),
        Some(Opaque::UnknownFlags(1 << 20))
    );
    let bytes = Draft {
        version: 1,
        reader_flags: 1 << 12,
        ..Draft::default()
    }
    .encode();
    assert_eq!(
        Manifest::decode(&bytes).unwrap().opaque(),
        Some(Opaque::UnknownFlags(1 << 12))
    );
}

#[test]
fn columns_know_their_parents_and_vectors() {
    for bytes in fixture_manifests() {
        let manifest = Manifest::decode(&bytes).unwrap();
        let vectors: Vec<_> = manifest.columns.iter().filter_map(Column::as_vector).collect();
        match manifest.columns.iter().any(|column| column.name == "vector") {
            true => assert_eq!(
                vectors[0],
                VectorColumn {
                    name: "vector".into(),
                    dimension: 384,
                    element: "float".into()
                }
            ),
            false => assert_eq!(vectors, []),
        }
        if manifest.columns.iter().any(|column| column.name == "window") {
            assert!(
                manifest
                    .columns
                    .iter()
                    .any(|column| column.name == "window.model"),
                "{:?}",
                manifest.columns
            );
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), position in any::<i64>(), magic in any::<bool>()) {
        if magic {
            bytes.extend_from_slice(&position.to_le_bytes());
            bytes.extend_from_slice(b"\0\0\x02\0LANC");
        }
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_messages_never_panic(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = u32::try_from(message.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend_from_slice(&message);
        bytes.extend_from_slice(&0_i64.to_le_bytes());
        bytes.extend_from_slice(b"\0\0\x02\0LANC");
        exercise(&bytes);
    }
}
