//! Sums of row hashes modulo 2^256: independent of order, additive over fragments, and subtractable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number modulo 2^256, little-endian limbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sum([u64; 4]);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self([0; 4]);

    /// Takes a hash as a number.
    pub fn of(hash: &[u8; 32]) -> Self {
        let (limbs, _) = hash.as_chunks::<8>();
        Self([
            u64::from_le_bytes(limbs[0]),
            u64::from_le_bytes(limbs[1]),
            u64::from_le_bytes(limbs[2]),
            u64::from_le_bytes(limbs[3]),
        ])
    }

    /// Adds another sum.
    pub fn add(&mut self, other: Self) {
        let mut carry = false;
        for (limb, more) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = limb.overflowing_add(more);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
    }

    /// Takes another sum out again.
    pub fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (limb, less) in self.0.iter_mut().zip(other.0) {
            let (rest, first) = limb.overflowing_sub(less);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            *limb = rest;
            borrow = first || second;
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for limb in self.0.iter().rev() {
            write!(f, "{limb:016x}")?;
        }
        Ok(())
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a sum: 64 hexadecimal digits are wanted")]
pub struct NotASum(String);

impl FromStr for Sum {
    type Err = NotASum;

    fn from_str(text: &str) -> Result<Self, NotASum> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotASum(text.chars().take(80).collect()))?;
        bytes.reverse();
        Ok(Self::of(&bytes))
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addition_carries_over_all_limbs_and_wraps() {
        let mut sum = Sum::of(&[0xff; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        sum.add(Sum::of(&one));
        assert_eq!(sum, Sum::ZERO);
        sum.subtract(Sum::of(&one));
        assert_eq!(sum, Sum::of(&[0xff; 32]));
    }

    #[test]
    fn order_does_not_matter_and_subtraction_undoes() {
        let hashes: Vec<Sum> = (0u8..20)
            .map(|i| Sum::of(&[i.wrapping_mul(37) ^ 0xa5; 32]))
            .collect();
        let mut forth = Sum::ZERO;
        let mut back = Sum::ZERO;
        hashes.iter().for_each(|h| forth.add(*h));
        hashes.iter().rev().for_each(|h| back.add(*h));
        assert_eq!(forth, back);
        hashes.iter().for_each(|h| forth.subtract(*h));
        assert_eq!(forth, Sum::ZERO);
    }

    #[test]
    fn text_form_round_trips() {
        let mut hash = [0; 32];
        hash.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
        let sum = Sum::of(&hash);
        assert_eq!(sum.to_string().parse::<Sum>().unwrap(), sum);
        assert!(sum.to_string().starts_with("1f1e1d"));
        assert!("zz".parse::<Sum>().is_err());
    }
}
