//! Content-defined chunking: FastCDC (2020) with a gear table that is seeded from the master key, so that chunk
//! lengths do not give known files away.

use std::borrow::Cow;

use fastcdc::v2020::{self, Normalization};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where chunks are cut. All but the seed stand in the repository's `config`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkerParams {
    /// No chunk but the last of a file is shorter.
    pub min: u32,
    /// The length that normalised chunking aims at; a power of two.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
    /// FastCDC's normalisation level, 0 to 3: how closely lengths gather round `avg`.
    pub normalization: u8,
    /// XORed into every entry of the gear table; derived from the master key, never stored.
    #[serde(skip)]
    pub seed: u64,
}

impl std::fmt::Debug for ChunkerParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}..{}..{} bytes, level {}",
            self.min, self.avg, self.max, self.normalization
        )
    }
}

impl Default for ChunkerParams {
    fn default() -> Self {
        Self {
            min: 4 << 10,
            avg: 16 << 10,
            max: 128 << 10,
            normalization: 1,
            seed: 0,
        }
    }
}

impl ChunkerParams {
    /// The longest chunk that format 1 allows.
    pub const LONGEST: u32 = 8 << 20;

    /// Says whether these can work.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] with the figure that is out of range.
    pub fn validate(&self) -> Result<()> {
        let reason = if self.min < 64 || !self.min.is_multiple_of(2) || self.min > v2020::MINIMUM_MAX as u32 {
            format!(
                "chunker: min = {} is out of range: an even number from 64 to 1048576",
                self.min
            )
        } else if !self.avg.is_power_of_two() || self.avg < 256 || self.avg > v2020::AVERAGE_MAX as u32 {
            format!(
                "chunker: avg = {} is out of range: a power of two from 256 to 4194304",
                self.avg
            )
        } else if !self.max.is_multiple_of(2) || self.max < 1024 || self.max > Self::LONGEST {
            format!(
                "chunker: max = {} is out of range: an even number from 1024 to 8388608",
                self.max
            )
        } else if !(self.min <= self.avg && self.avg <= self.max) {
            format!("chunker: {self:?} is not in order: min ≤ avg ≤ max is needed")
        } else if self.normalization > 3 {
            format!(
                "chunker: normalization = {} is out of range: 0 to 3",
                self.normalization
            )
        } else {
            return Ok(());
        };
        Err(Error::InvalidOptions { reason })
    }

    /// A cutter with these parameters.
    pub fn cutter(&self) -> Cutter {
        let level = match self.normalization {
            0 => Normalization::Level0,
            1 => Normalization::Level1,
            2 => Normalization::Level2,
            _ => Normalization::Level3,
        };
        let (strict, relaxed) = v2020::select_masks(self.avg as usize, level);
        let (gear, gear_shifted) = v2020::get_gear_with_seed(self.seed);
        Cutter {
            min: self.min as usize,
            avg: self.avg as usize,
            max: self.max as usize,
            strict,
            relaxed,
            gear,
            gear_shifted,
        }
    }
}

/// Finds the ends of chunks. Holds no position: give it the data from the start of the chunk on.
#[derive(Clone)]
pub struct Cutter {
    min: usize,
    avg: usize,
    max: usize,
    strict: u64,
    relaxed: u64,
    gear: Cow<'static, [u64]>,
    gear_shifted: Cow<'static, [u64]>,
}

impl std::fmt::Debug for Cutter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cutter({}..{}..{})", self.min, self.avg, self.max)
    }
}

impl Cutter {
    /// The longest chunk: what [`Cutter::cut`] must see, unless the data end before.
    pub fn longest(&self) -> usize {
        self.max
    }

    /// Length of the chunk at the start of `data`, which must hold at least [`Cutter::longest`] bytes or be all
    /// that is left of the file. Zero only for empty data.
    pub fn cut(&self, data: &[u8]) -> usize {
        let (_, len) = v2020::cut_gear(
            data,
            self.min,
            self.avg,
            self.max,
            self.strict,
            self.relaxed,
            self.strict << 1,
            self.relaxed << 1,
            &self.gear,
            &self.gear_shifted,
        );
        len
    }

    /// The chunks of data that are all in memory.
    pub fn chunks<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        let mut rest = data;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (chunk, after) = rest.split_at(self.cut(rest));
            rest = after;
            Some(chunk)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn chunks_cover_the_data_within_bounds() {
        let data = noise(1 << 20);
        let params = ChunkerParams {
            seed: 7,
            ..ChunkerParams::default()
        };
        let cutter = params.cutter();
        let lengths: Vec<usize> = cutter.chunks(&data).map(<[u8]>::len).collect();
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
        let (_, all_but_last) = lengths.split_last().unwrap();
        assert!(
            all_but_last.iter().all(|&len| (4096..=128 << 10).contains(&len)),
            "{lengths:?}"
        );
        assert!(lengths.len() > 20, "{lengths:?}");
    }

    #[test]
    fn a_window_of_the_longest_chunk_is_enough() {
        let data = noise(600 << 10);
        let cutter = ChunkerParams {
            seed: 9,
            ..ChunkerParams::default()
        }
        .cutter();
        let mut at = 0;
        for chunk in cutter.chunks(&data) {
            let window = &data[at..data.len().min(at + cutter.longest())];
            assert_eq!(cutter.cut(window), chunk.len());
            at += chunk.len();
        }
    }

    #[test]
    fn the_seed_moves_the_cuts() {
        let data = noise(1 << 20);
        let cuts = |seed| -> Vec<usize> {
            let cutter = ChunkerParams {
                seed,
                ..ChunkerParams::default()
            }
            .cutter();
            cutter.chunks(&data).map(<[u8]>::len).collect()
        };
        assert_ne!(cuts(1), cuts(2));
        assert_eq!(cuts(1), cuts(1));
    }

    #[test]
    fn equal_content_is_found_after_an_insertion() {
        let data = noise(1 << 20);
        let mut moved = b"inserted".to_vec();
        moved.extend_from_slice(&data);
        let cutter = ChunkerParams {
            seed: 3,
            ..ChunkerParams::default()
        }
        .cutter();
        let before: std::collections::HashSet<&[u8]> = cutter.chunks(&data).collect();
        let shared = cutter.chunks(&moved).filter(|c| before.contains(c)).count();
        assert!(shared * 10 >= before.len() * 9, "{shared} of {}", before.len());
    }

    #[test]
    fn bad_parameters_are_named() {
        let bad = ChunkerParams {
            avg: 17_000,
            ..ChunkerParams::default()
        };
        assert!(bad.validate().unwrap_err().to_string().contains("avg = 17000"));
        let bad = ChunkerParams {
            min: 1 << 20,
            ..ChunkerParams::default()
        };
        assert!(bad.validate().is_err());
        ChunkerParams::default().validate().unwrap();
    }
}
