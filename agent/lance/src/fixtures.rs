//! Databases written by real LanceDB releases, unpacked into a temporary folder.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A fixture's folder, removed on drop.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub(crate) database: PathBuf,
    pub(crate) facts: serde_json::Value,
}

/// The archives that exist here.
pub(crate) fn archives() -> Vec<PathBuf> {
    let named = std::env::var_os("DR_FIXTURES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|parent| parent.join("shared/fixtures"));
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    for folder in named.into_iter().chain(beside).chain([own]) {
        let entries = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| is_archive(path))
            .collect();
        if !found.is_empty() {
            found.sort();
            return found;
        }
    }
    skip(
        "fixtures",
        "none found: set DR_FIXTURES to a folder with lancedb-*.tar.zst",
    );
    Vec::new()
}

fn is_archive(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.starts_with("lancedb-") && name.ends_with(".tar.zst")
    })
}

pub(crate) fn unpack(archive: &Path) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let reader = zstd::Decoder::new(File::open(archive).unwrap()).unwrap();
    tar::Archive::new(reader).unpack(folder.path()).unwrap();
    let facts = std::fs::read(folder.path().join("facts.json")).unwrap();
    Fixture {
        database: folder.path().join("rocketship-db"),
        facts: serde_json::from_slice(&facts).unwrap(),
        _folder: folder,
    }
}

/// Every file below a folder, relative to it.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    fn visit(folder: &Path, prefix: &str, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                visit(&entry.path(), &format!("{name}/"), out);
            } else {
                out.push(name);
            }
        }
    }
    let mut out = Vec::new();
    visit(folder, "", &mut out);
    out.sort();
    out
}

/// Says that a test cannot run here. In CI nothing may be skipped.
pub(crate) fn skip(test: &str, reason: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
    assert!(
        !ci,
        "{test} cannot run, and in CI nothing may be skipped: {reason}"
    );
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("DR_SKIPS") {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        std::io::Write::write_all(&mut file, format!("{test}: {reason}\n").as_bytes()).unwrap();
    }
}
