//! Logs for tests: made here, or by Python in the shared fixtures.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Lines chained as `ChainConfig::default()` says, without newlines.
pub(crate) fn chained(from: u64, count: u64, previous: &str) -> Vec<String> {
    let mut previous = previous.to_owned();
    (from..from + count)
        .map(|seq| {
            let rest = format!(
                r#""actor":"agent-{}","detail":"step {seq}","seq":{seq},"ts":{}"#,
                seq % 7,
                1_772_000_000 + seq
            );
            let hash = hex::encode(Sha256::digest(format!("{previous}{{{rest}}}")));
            let line = format!(r#"{{{rest},"prev_hash":"{previous}","hash":"{hash}"}}"#);
            previous = hash;
            line
        })
        .collect()
}

/// The hash that a line of [`chained`] states.
pub(crate) fn head(line: &str) -> String {
    line.rsplit('"').nth(1).unwrap().to_owned()
}

/// Lines as they lie in a file.
pub(crate) fn joined(lines: &[String]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Appends to a file, creating it.
pub(crate) fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// The shared fixtures: `DR_FIXTURES`, or `shared/fixtures` in a folder above.
pub(crate) fn shared() -> Vec<PathBuf> {
    let folder = std::env::var_os("DR_FIXTURES").map(PathBuf::from).or_else(|| {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        above
            .map(|folder| folder.join("shared/fixtures"))
            .find(|folder| folder.is_dir())
    });
    let Some(folder) = folder else { return Vec::new() };
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".tar.zst"))
        .collect();
    found.sort();
    found
}

/// Unpacks the log and `facts.json` of a fixture.
pub(crate) fn unpack(archive: &Path, into: &Path) {
    let file = fs::File::open(archive).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.components().any(|part| part.as_os_str() == "logs") || path.ends_with("facts.json") {
            entry.unpack_in(into).unwrap();
        }
    }
}
