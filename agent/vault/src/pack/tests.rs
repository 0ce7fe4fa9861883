use proptest::prelude::*;

use super::*;
use crate::cipher::Cipher;
use crate::id::RepositoryId;
use crate::keys::MasterKey;
use crate::layout;

fn ring(cipher: Cipher) -> KeyRing {
    KeyRing::new(
        MasterKey::generate().unwrap(),
        cipher,
        RepositoryId::from_random([8; 16]),
    )
}

fn build(ring: &KeyRing, chunks: &[Vec<u8>]) -> SealedPack {
    let mut builder = PackBuilder::new(ring, buffers().take()).unwrap();
    let mut encoder = Encoder::new().unwrap();
    for chunk in chunks {
        builder.push(ring.chunk_id(chunk), chunk, &mut encoder);
    }
    builder.finish()
}

fn open_all(ring: &KeyRing, pack: PackId, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let object = layout::pack(&pack);
    let size = bytes.len() as u64;
    let len = footer_len(&object, size, bytes)?;
    let at = bytes.len() - TRAILER_LEN - len;
    let contents = open_footer(ring, pack, &object, size, bytes, &bytes[at..at + len])?;
    let mut decoder = Decoder::new()?;
    let chunk = |(ordinal, entry): (usize, &FooterEntry)| {
        let location = Location::of(&contents, ordinal);
        let range = entry.offset as usize..(entry.offset + entry.sealed_len) as usize;
        open_chunk(
            ring,
            &object,
            &entry.chunk,
            &location,
            &mut bytes[range].to_vec(),
            &mut decoder,
        )
    };
    contents.entries.iter().enumerate().map(chunk).collect()
}

#[test]
fn every_bit_and_every_length_counts() {
    for cipher in [Cipher::Aes256Gcm, Cipher::None] {
        let ring = ring(cipher);
        let chunks = vec![b"one".to_vec(), b"two ".repeat(30)];
        let sealed = build(&ring, &chunks);
        let (pack, bytes) = (sealed.contents.pack, sealed.bytes);
        assert_eq!(open_all(&ring, pack, &bytes).unwrap(), chunks);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = open_all(&ring, pack, &flipped).unwrap_err().to_string();
            assert!(error.contains(&pack.to_string()), "bit {bit}: {error}");
        }
        for len in 0..bytes.len() {
            assert!(open_all(&ring, pack, &bytes[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn chunks_do_not_open_in_each_others_place() {
    let ring = ring(Cipher::Aes256Gcm);
    let sealed = build(&ring, &[b"aaaa".to_vec(), b"bbbb".to_vec()]);
    let mut bytes = sealed.bytes.to_vec();
    let [one, two] = sealed.contents.entries[..] else {
        panic!("two chunks")
    };
    assert_eq!(one.sealed_len, two.sealed_len);
    for n in 0..one.sealed_len {
        bytes.swap((one.offset + n) as usize, (two.offset + n) as usize);
    }
    assert!(open_all(&ring, sealed.contents.pack, &bytes).is_err());
}

#[test]
fn a_pack_says_when_it_is_full() {
    let ring = ring(Cipher::Aes256Gcm);
    let mut builder = PackBuilder::new(&ring, buffers().take()).unwrap();
    let mut encoder = Encoder::new().unwrap();
    let mut noise = vec![0; 8 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    builder.push(ring.chunk_id(&noise), &noise, &mut encoder);
    assert!(!builder.is_full());
    builder.push(ring.chunk_id(&noise), &noise, &mut encoder);
    assert!(builder.is_full());
    assert!(builder.finish().bytes.len() <= LIMIT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 1..20),
    ) {
        let ring = ring(Cipher::Aes256Gcm);
        let sealed = build(&ring, &chunks);
        prop_assert_eq!(open_all(&ring, sealed.contents.pack, &sealed.bytes).unwrap(), chunks);
    }

    #[test]
    fn hostile_footers_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut rest: &[u8] = &bytes;
        let _ = read_entries(&mut rest);
        let _ = footer_len(&Key::new("packs/x"), bytes.len() as u64, &bytes);
    }
}
