//! Finds and unpacks the fixtures; also used by the unit tests of the library.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The fixtures written by Python, unpacked; `None` in a clone that has none.
pub(crate) fn fixture(version: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let archive = format!("lancedb-{version}.tar.zst");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().map(|folder| folder.join("shared/fixtures"));
    let named = std::env::var_os("DR_FIXTURES").map(PathBuf::from);
    let archive = named
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join(&archive))
        .find(|path| path.is_file())?;
    let scratch = tempfile::tempdir().unwrap();
    let status = Command::new("tar")
        .arg("--zstd")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(scratch.path())
        .status();
    assert!(status.unwrap().success());
    let path = scratch.path().to_owned();
    Some((scratch, path))
}
