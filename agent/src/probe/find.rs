//! Which probe to start for data that some LanceDB wrote.
//!
//! A folder of probes holds one `<Lance version>/dr-probe` each. The lowest that is not older than the writer is
//! taken: it reads what was written, and its answers are nearest to those that the application gets. Without such a
//! folder the probe beside the agent's own program is the only one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "dr-probe";

/// The probe for data whose newest writer was `writer` (a Lance version such as `13.0.0`), if any is installed.
///
/// `probes` is the configured folder of probes, `beside` the folder of the agent's own program.
pub fn find(probes: Option<&Path>, beside: Option<&Path>, writer: Option<&str>) -> Option<PathBuf> {
    match probes {
        Some(folder) => versioned(folder, writer.and_then(parse)),
        None => beside
            .map(|folder| folder.join(PROGRAM))
            .filter(|program| program.is_file()),
    }
}

type Version = (u64, u64, u64);

fn parse(text: &str) -> Option<Version> {
    let plain = text.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(|part| part.parse::<u64>().ok());
    Some((
        parts.next()??,
        parts.next().unwrap_or(Some(0))?,
        parts.next().unwrap_or(Some(0))?,
    ))
}

fn versioned(folder: &Path, writer: Option<Version>) -> Option<PathBuf> {
    let installed = programs(folder)
        .into_iter()
        .map(|(version, _, program)| (version, program));
    match writer {
        Some(writer) => installed.filter(|(version, _)| *version >= writer).min(),
        None => installed.max(),
    }
    .map(|(_, program)| program)
}

/// The probes in a folder of versions: each with the name of its own folder.
fn programs(folder: &Path) -> Vec<(Version, String, PathBuf)> {
    let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = listed.unwrap_or_else(|error| {
        if error.kind() != ErrorKind::NotFound {
            tracing::warn!(folder = %folder.display(), %error, "the installed probes can not be listed");
        }
        Vec::new()
    });
    let programs = entries.into_iter().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let program = entry.path().join(PROGRAM);
        Some((parse(&name)?, name, program))
    });
    programs.filter(|(_, _, program)| program.is_file()).collect()
}

/// The probes that are installed: by their versions, oldest first; or the one beside the agent's own program, which is
/// of the agent's own release.
pub fn installed(probes: Option<&Path>, beside: Option<&Path>) -> Vec<String> {
    let Some(folder) = probes else {
        let own = find(None, beside, None).map(|_| concat!("beside ", env!("CARGO_PKG_VERSION")).to_owned());
        return own.into_iter().collect();
    };
    let mut found = programs(folder);
    found.sort();
    found.into_iter().map(|(_, name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path, version: &str) -> PathBuf {
        let dir = folder.join(version);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(PROGRAM), "").unwrap();
        dir.join(PROGRAM)
    }

    #[test]
    fn the_lowest_probe_that_reads_the_writers_version_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (install(folder.path(), "9.0.1"), install(folder.path(), "14.0.2"));
        let find = |writer| find(Some(folder.path()), None, writer);
        assert_eq!(find(Some("0.19.2")), Some(old));
        assert_eq!(find(Some("10.0.0-beta.3")), Some(new.clone()));
        assert_eq!(find(None), Some(new));
        assert_eq!(find(Some("15.0.0")), None);
        assert_eq!(installed(Some(folder.path()), None), ["9.0.1", "14.0.2"]);
    }

    #[test]
    fn without_a_folder_of_probes_the_one_beside_the_agent_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find(None, Some(folder.path()), None), None);
        std::fs::write(folder.path().join(PROGRAM), "").unwrap();
        assert_eq!(
            find(None, Some(folder.path()), Some("99.0.0")),
            Some(folder.path().join(PROGRAM))
        );
        assert_eq!(installed(None, Some(folder.path())).len(), 1);
    }
}
