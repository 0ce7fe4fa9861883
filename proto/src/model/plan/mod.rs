//! Plans: what is drilled, where, when and how far a run may go.

/// What verdicts are bound to: BLAKE3 of a plan's text, hex.
pub fn hash_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
