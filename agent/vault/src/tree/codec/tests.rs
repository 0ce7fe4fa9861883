use proptest::prelude::*;

use super::*;

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn entry(at: &str, kind: EntryKind) -> Record {
    Record::Entry(Entry {
        path: path(at),
        kind,
        metadata: Metadata::default(),
        identity: None,
    })
}

fn chunk(byte: u8, len: u32) -> ChunkRef {
    ChunkRef {
        id: ChunkId::from_bytes([byte; 32]),
        len,
    }
}

fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        // Past the encoder's own rules: what contradicts itself must reach the decoder.
        record_to_wire(record)
            .encode_length_delimited(&mut bytes)
            .unwrap();
    }
    bytes
}

fn decode(bytes: &[u8], step: usize) -> Result<Vec<Record>, Malformed> {
    let mut decoder = Decoder::new();
    let mut records = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        decoder.feed(piece);
        while let Some(record) = decoder.next_record()? {
            records.push(record);
        }
    }
    decoder.finish()?;
    Ok(records)
}

const END: Record = Record::End(ContentHash::from_bytes([7; 32]));

fn file(len: u64) -> EntryKind {
    EntryKind::File { len }
}

fn link(target: &str) -> EntryKind {
    EntryKind::Symlink {
        target: target.as_bytes().to_vec(),
    }
}

fn reason(records: &[Record]) -> &'static str {
    match decode(&encode(records), 64) {
        Err(Malformed::Contradiction { reason, .. }) => reason,
        other => panic!("taken or refused otherwise: {other:?}"),
    }
}

#[test]
fn nothing_is_written_through_a_link_or_a_file() {
    let through_link = [entry("a", link("/etc")), entry("a/passwd", file(0)), END];
    assert_eq!(reason(&through_link), "its parent is no directory of this list");
    let through_file = [entry("a", file(0)), END, entry("a/b", file(0)), END];
    assert_eq!(reason(&through_file), "its parent is no directory of this list");
    assert_eq!(
        reason(&[entry("a/b", file(0)), END]),
        "its parent is no directory of this list"
    );
    let closed = [
        entry("a", EntryKind::Directory),
        entry("b", EntryKind::Directory),
        entry("b/c", file(0)),
        END,
        entry("c", link("x")),
        entry("c/d", EntryKind::Directory),
    ];
    assert_eq!(reason(&closed), "its parent is no directory of this list");
}

#[test]
fn order_lengths_and_ends_must_agree() {
    assert_eq!(
        reason(&[entry("b", EntryKind::Directory), entry("a", EntryKind::Directory)]),
        "an entry out of order"
    );
    assert_eq!(
        reason(&[entry("a", link("x")), entry("a", EntryKind::Directory)]),
        "an entry out of order"
    );
    let short = [entry("a", file(3)), Record::Chunks(vec![chunk(1, 2)]), END];
    assert_eq!(reason(&short), "fewer chunks than bytes");
    assert_eq!(
        reason(&[entry("a", file(1)), Record::Chunks(vec![chunk(1, 2)])]),
        "more chunks than bytes"
    );
    assert_eq!(
        reason(&[entry("a", EntryKind::Directory), END]),
        "the end of what is no file"
    );
    assert_eq!(
        reason(&[entry("a", file(0)), entry("b", file(0))]),
        "a file without its end"
    );
    assert_eq!(
        reason(&[entry("a", link("")), END]),
        "a link with an empty or overlong target"
    );
    assert_eq!(reason(&[entry("", file(0)), END]), "the root is no directory");
}

#[test]
fn a_cut_off_stream_is_not_a_tree() {
    let bytes = encode(&[entry("a", file(2)), Record::Chunks(vec![chunk(1, 2)]), END]);
    for len in 1..bytes.len() {
        assert!(
            decode(&bytes[..len], 7).is_err(),
            "{len} of {} bytes passed",
            bytes.len()
        );
    }
    assert_eq!(decode(&[], 1), Ok(vec![]));
    assert!(decode(&[0xff; 16], 16).is_err());
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let xattr = (
        proptest::collection::vec(1..=255_u8, 1..9),
        proptest::collection::vec(any::<u8>(), 0..9),
    )
        .prop_map(|(name, value)| Xattr { name, value });
    (
        0..0o10000_u32,
        any::<u32>(),
        any::<u32>(),
        any::<i64>(),
        proptest::collection::vec(xattr, 0..3),
    )
        .prop_map(|(mode, uid, gid, mtime_ns, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime_ns,
            xattrs,
        })
}

fn kind() -> impl Strategy<Value = (EntryKind, Vec<ChunkRef>)> {
    let chunks = proptest::collection::vec((any::<u8>(), 1..5000_u32), 0..20).prop_map(|list| {
        list.into_iter()
            .map(|(byte, len)| chunk(byte, len))
            .collect::<Vec<_>>()
    });
    prop_oneof![
        Just((EntryKind::Directory, vec![])),
        "[a-z/.]{1,9}".prop_map(|target| (link(&target), vec![])),
        chunks.prop_map(|chunks| (file(chunks.iter().map(|c| u64::from(c.len)).sum()), chunks)),
    ]
}

/// Trees as a walk would give them: every entry that is no directory keeps its children out.
fn tree() -> impl Strategy<Value = Vec<Record>> {
    let identity = proptest::option::of((any::<u64>(), any::<u64>(), any::<i64>(), any::<u64>()));
    let entry = ("[ab-]{1,2}(/[ab-]{1,2}){0,2}", kind(), metadata(), identity);
    proptest::collection::btree_map(
        "[ab-]{1,2}(/[ab-]{1,2}){0,2}".prop_map(|p| path(&p)),
        entry,
        0..12,
    )
    .prop_map(|entries| {
        let mut directories = vec![TreePath::root()];
        let mut records = Vec::new();
        for (path, (_, (kind, chunks), metadata, identity)) in entries {
            if !directories.contains(&path.parent().unwrap()) {
                continue;
            }
            let is_file = matches!(kind, EntryKind::File { .. });
            if kind == EntryKind::Directory {
                directories.push(path.clone());
            }
            let identity = identity.map(|(dev, inode, mtime_ns, len)| Identity {
                dev,
                inode,
                mtime_ns,
                len,
            });
            records.push(Record::Entry(Entry {
                path,
                kind,
                metadata,
                identity,
            }));
            records.extend(chunks.chunks(7).map(|part| Record::Chunks(part.to_vec())));
            if is_file {
                records.push(END);
            }
        }
        records
    })
}

#[test]
fn the_encoder_writes_nothing_that_the_decoder_refuses() {
    let mut encoder = Encoder::new();
    let mut bytes = Vec::new();
    encoder.encode(&entry("a", link("/etc")), &mut bytes).unwrap();
    assert!(encoder.encode(&entry("a/passwd", file(0)), &mut bytes).is_err());
}

proptest! {
    #[test]
    fn every_tree_comes_back(records in tree(), step in 1..300_usize) {
        prop_assert_eq!(decode(&encode(&records), step), Ok(records));
    }

    #[test]
    fn no_bytes_bring_the_decoder_down(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, 50);
    }

    #[test]
    fn no_flip_brings_the_decoder_down(records in tree(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = encode(&records);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes, 50);
        }
    }
}
