//! What views read beyond what [`wire`](crate::wire) reads for all.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serializer;

/// `None` for the empty text that stands for it on the wire.
pub(super) fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A length of time in seconds; negative where a clock is behind.
pub(super) fn seconds(value: Option<prost_types::Duration>) -> Option<f64> {
    value.map(|value| value.seconds as f64 + f64::from(value.nanos) / 1e9)
}

/// In the order of names.
pub(super) fn sorted<V>(map: HashMap<String, V>) -> BTreeMap<String, V> {
    map.into_iter().collect()
}

/// Serialises a length of time as seconds.
pub(super) fn as_seconds<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_f64(value.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

/// The most entries that a client takes of one list: what a message holds at the most is far below.
pub(super) const MOST: usize = 1_000_000;
