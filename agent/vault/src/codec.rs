//! What stands inside a seal: plain bytes, compressed where that helps.
//!
//! One byte says how: `0` raw, `1` zstd with the raw length (u32, little-endian) before the frame.

use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, Result};

const RAW: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_PREFIX: usize = 1 + 4;
/// Chunks are too short for the deeper searches of higher levels: measured on chunks of 16 KiB, level 3 stored JSON logs
/// and the files of Lance as small as this one does, and needed a tenth to a third more time.
const LEVEL: i32 = 1;
const SAMPLE: usize = 4 << 10;

/// What encoding adds at most.
pub(crate) const OVERHEAD: usize = 1;

/// Encodes; owns the compressor's working memory.
pub(crate) struct Encoder {
    compressor: Compressor<'static>,
    scratch: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Result<Self> {
        let compressor = Compressor::new(LEVEL).map_err(|e| Error::internal(format!("zstd: {e}")))?;
        Ok(Self {
            compressor,
            scratch: Vec::new(),
        })
    }

    /// Appends the encoded form of `plain` to `out`.
    pub(crate) fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        if let Some(len) = self.shrunk(plain) {
            out.push(ZSTD);
            out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
            out.extend_from_slice(&self.scratch[..len]);
        } else {
            out.push(RAW);
            out.extend_from_slice(plain);
        }
    }

    /// Compresses into the scratch buffer if a sample shrinks, and the whole does too: by a sixteenth at least, or
    /// reading it back costs more than it saves.
    fn shrunk(&mut self, plain: &[u8]) -> Option<usize> {
        if plain.len() > 4 * SAMPLE {
            let middle = plain.len() / 2;
            self.compressed(&plain[middle..middle + SAMPLE])?;
        }
        self.compressed(plain)
    }

    fn compressed(&mut self, plain: &[u8]) -> Option<usize> {
        let bound = plain.len() - plain.len() / 16;
        if bound <= ZSTD_PREFIX || u32::try_from(plain.len()).is_err() {
            return None;
        }
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        // A result that does not fit is an error of zstd, and for us the answer "does not shrink".
        self.compressor
            .compress_to_buffer(plain, &mut self.scratch[..bound - ZSTD_PREFIX])
            .ok()
    }
}

/// Decodes; owns the decompressor's working memory.
pub(crate) struct Decoder(Decompressor<'static>);

impl Decoder {
    pub(crate) fn new() -> Result<Self> {
        Decompressor::new()
            .map(Self)
            .map_err(|e| Error::internal(format!("zstd: {e}")))
    }

    /// The plain bytes, at most `limit` of them; a sentence if they can not be had.
    pub(crate) fn decode(&mut self, encoded: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        match encoded.split_first() {
            Some((&RAW, plain)) if plain.len() <= limit => Ok(plain.to_vec()),
            Some((&RAW, plain)) => Err(format!("it holds {} bytes, more than {limit}", plain.len())),
            Some((&ZSTD, rest)) => {
                let (len, frame) = rest
                    .split_first_chunk::<4>()
                    .ok_or("its compressed content is cut short")?;
                let len = u32::from_le_bytes(*len) as usize;
                if len > limit {
                    return Err(format!("it says that it holds {len} bytes, more than {limit}"));
                }
                let plain = self.0.decompress(frame, len).map_err(|e| format!("zstd: {e}"))?;
                if plain.len() == len {
                    Ok(plain)
                } else {
                    Err(format!("it says {len} bytes and holds {}", plain.len()))
                }
            }
            Some((other, _)) => Err(format!("it has the unknown encoding {other}")),
            None => Err("it is empty".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::new().unwrap().encode(plain, &mut out);
        out
    }

    fn decode(encoded: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        Decoder::new().unwrap().decode(encoded, limit)
    }

    #[test]
    fn text_shrinks_and_noise_does_not() {
        let text = b"all work and no play ".repeat(2000);
        assert!(encode(&text).len() < text.len() / 10);
        let mut noise = vec![0; 40_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(encode(&noise).len(), noise.len() + OVERHEAD);
    }

    #[test]
    fn lengths_are_bounded() {
        let text = b"x".repeat(10_000);
        assert!(decode(&encode(&text), 9_999).is_err());
        assert!(decode(&[0, 1, 2], 1).is_err());
        assert!(decode(&[], 10).is_err());
        assert!(decode(&[7, 1], 10).is_err());
        assert!(decode(&[1, 1], 10).is_err());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            seed in proptest::collection::vec(any::<u8>(), 0..300),
            times in 1_usize..200,
        ) {
            let plain = seed.repeat(times);
            let encoded = encode(&plain);
            prop_assert!(encoded.len() <= plain.len() + OVERHEAD);
            prop_assert_eq!(decode(&encoded, plain.len()).unwrap(), plain);
        }

        #[test]
        fn hostile_bytes_do_no_harm(encoded in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&encoded, 1 << 16);
        }
    }
}
