//! Golden queries: what is asked of the live indices at the cut, and asked again of every copy.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A query vector; in JSON the hexadecimal form of its little-endian 32-bit floats, so that no bit is lost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vector(pub Vec<f32>);

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|x| x.to_le_bytes()).collect();
        to.serialize_str(&hex::encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = hex::decode(text).map_err(serde::de::Error::custom)?;
        let (floats, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(serde::de::Error::custom(
                "a vector is a whole number of 32-bit floats",
            ));
        }
        Ok(Self(floats.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }
}

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Squared Euclidean distance, as Lance reports it.
    L2,
    /// One minus the cosine of the angle.
    Cosine,
    /// One minus the dot product.
    Dot,
    /// Number of differing bits.
    Hamming,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Query {
    /// The `k` nearest rows to a vector.
    Nearest {
        /// The vector column.
        column: String,
        /// The query vector.
        vector: Vector,
        /// The metric of the index, or of an exact search where there is none.
        metric: Metric,
        /// How many rows.
        k: u32,
        /// The index that answered at the cut; unset: a flat search.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        index: Option<String>,
    },
    /// The `k` best matches of words.
    FullText {
        /// The text column.
        column: String,
        /// The words.
        terms: String,
        /// How many rows.
        k: u32,
    },
    /// How many rows fulfil a predicate that a scalar index answers.
    Filter {
        /// The indexed column.
        column: String,
        /// The predicate, in Lance's SQL.
        predicate: String,
    },
}

impl Query {
    /// The column that is asked.
    pub fn column(&self) -> &str {
        match self {
            Self::Nearest { column, .. } | Self::FullText { column, .. } | Self::Filter { column, .. } => {
                column
            }
        }
    }
}

/// One row of an answer, best first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Lance's row id: the same in every copy of one snapshot.
    pub row: u64,
    /// Distance (small is near) or score (large is good).
    pub value: f32,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Query::Nearest`].
    Nearest {
        /// What the index said.
        live: Vec<Hit>,
        /// What comparing with every row said; unset when the scan was not asked for or did not end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exact: Option<Vec<Hit>>,
    },
    /// To [`Query::FullText`].
    FullText {
        /// What the index said.
        live: Vec<Hit>,
    },
    /// To [`Query::Filter`].
    Filter {
        /// Rows counted with the index.
        indexed: u64,
        /// Rows counted without it; unset when that could not be done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scanned: Option<u64>,
    },
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// The question.
    pub query: Query,
    /// The answer.
    pub answer: Answer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_keeps_every_bit() {
        let vector = Vector(vec![0.1, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY]);
        let text = serde_json::to_string(&vector).unwrap();
        let back: Vector = serde_json::from_str(&text).unwrap();
        let bits = |v: &Vector| v.0.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&vector));
        assert!(serde_json::from_str::<Vector>("\"0000\"").is_err());
    }
}
