//! The body of an index object: for each pack its name, salt and size, and its list of chunks.

use crate::id::PackId;
use crate::keys::SALT_LEN;
use crate::pack::{Contents, read_entries, write_entries};

const PACK_LEN: usize = 32 + SALT_LEN + 4;

/// Writes the body: number of packs, then each.
pub(crate) fn encode<'a>(packs: impl ExactSizeIterator<Item = &'a Contents>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    for pack in packs {
        out.extend_from_slice(pack.pack.as_bytes());
        out.extend_from_slice(&pack.salt);
        out.extend_from_slice(&pack.size.to_le_bytes());
        write_entries(&pack.entries, &mut out);
    }
    out
}

/// Reads a body; a sentence if it can not be one.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<Contents>, String> {
    let (count, mut rest) = body.split_first_chunk::<4>().ok_or("its body is cut short")?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > rest.len() / (PACK_LEN + 4) {
        return Err(format!("it says {count} packs and has {} bytes", rest.len()));
    }
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        let (head, behind) = rest
            .split_first_chunk::<PACK_LEN>()
            .ok_or("its body is cut short")?;
        rest = behind;
        let (mut pack, mut salt) = ([0; 32], [0; SALT_LEN]);
        pack.copy_from_slice(&head[..32]);
        salt.copy_from_slice(&head[32..64]);
        let size = u32::from_le_bytes([head[64], head[65], head[66], head[67]]);
        let entries = read_entries(&mut rest)?;
        packs.push(Contents {
            pack: PackId::from_bytes(pack),
            salt,
            size,
            entries,
        });
    }
    if rest.is_empty() {
        Ok(packs)
    } else {
        Err(format!("{} bytes follow its last pack", rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::HEADER_LEN;
    use crate::id::ChunkId;
    use crate::pack::FooterEntry;

    fn contents(seed: u8, lengths: &[u16]) -> Contents {
        let mut offset = HEADER_LEN as u32;
        let entries = lengths.iter().enumerate().map(|(n, &len)| {
            let sealed_len = 17 + u32::from(len);
            let entry = FooterEntry {
                chunk: ChunkId::from_bytes([seed ^ n as u8; 32]),
                offset,
                sealed_len,
                raw_len: u32::from(len),
            };
            offset += sealed_len;
            entry
        });
        let entries: Vec<FooterEntry> = entries.collect();
        Contents {
            pack: PackId::from_bytes([seed; 32]),
            salt: [!seed; SALT_LEN],
            size: offset + 60,
            entries,
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            packs in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u16>(), 0..20)), 0..8),
        ) {
            let packs: Vec<Contents> = packs.iter().map(|(seed, lengths)| contents(*seed, lengths)).collect();
            prop_assert_eq!(decode(&encode(packs.iter())).unwrap(), packs);
        }

        #[test]
        fn hostile_bytes_do_no_harm(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&body);
        }

        #[test]
        fn every_cut_is_seen(lengths in proptest::collection::vec(any::<u16>(), 1..5), cut in 0_usize..200) {
            let body = encode([contents(1, &lengths)].iter());
            prop_assert!(decode(&body[..cut.min(body.len() - 1)]).is_err());
        }
    }
}
