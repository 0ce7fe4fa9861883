//! How much of a proof a run holds: a little in CI, what the proof names in soak.
//!
//! `DR_VOLUME=soak` chooses; `DR_SEED` is the seed of everything that is drawn by chance; `DR_FIGURES` names the file
//! that takes the figures which soak publishes, a JSON object a line.

use std::io::Write;

/// `ci` cases usually, `soak` cases in a soak run.
pub fn of(ci: usize, soak: usize) -> usize {
    if std::env::var("DR_VOLUME").is_ok_and(|volume| volume == "soak") {
        soak
    } else {
        ci
    }
}

/// The seed of this run.
///
/// # Panics
///
/// If `DR_SEED` is not a number.
pub fn seed() -> u64 {
    std::env::var("DR_SEED").map_or(1, |seed| seed.parse().expect("DR_SEED is a number"))
}

/// Publishes a figure.
///
/// # Panics
///
/// If it can not be written down.
pub fn figure(case: &str, figure: &serde_json::Value) {
    let Some(path) = std::env::var_os("DR_FIGURES") else {
        return;
    };
    let line = serde_json::json!({ "case": case, "seed": seed(), "figure": figure });
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("open DR_FIGURES");
    writeln!(file, "{line}").expect("write down a figure");
}
