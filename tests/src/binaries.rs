//! The binaries that system tests start: those that the same build put beside the running test.

use std::path::PathBuf;

/// `dr-agent`.
pub fn agent() -> Option<PathBuf> {
    built("dr-agent")
}

/// `dr-coordinator`.
pub fn coordinator() -> Option<PathBuf> {
    built("dr-coordinator")
}

/// `drctl`.
pub fn drctl() -> Option<PathBuf> {
    built("drctl")
}

/// `dr-probe`, the one that links lancedb.
pub fn probe() -> Option<PathBuf> {
    built("dr-probe")
}

/// `dr-sample`, which writes data as an application would.
pub fn sample() -> Option<PathBuf> {
    built("dr-sample")
}

/// A binary of this build: test binaries lie in `<target>/<profile>/deps`, binaries one folder above.
fn built(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
