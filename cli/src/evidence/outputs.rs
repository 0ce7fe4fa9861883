//! What build servers want beside the result: a JUnit file, a summary.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Evidence;
use crate::session::Session;

/// Why an output was not written.
#[derive(Debug, thiserror::Error)]
#[error("write {}", path.display())]
pub(crate) struct NotWritten {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Writes what was asked for.
pub(crate) fn write(session: &Session, evidence: &Evidence, junit: Option<&Path>) -> Result<(), NotWritten> {
    let not_written = |path: &Path| {
        let path = path.to_owned();
        move |source| NotWritten { path, source }
    };
    let drawn = evidence.drawn();
    if let Some(path) = junit {
        std::fs::write(path, dr_proto::render::junit(&drawn)).map_err(not_written(path))?;
    }
    if session.ui.is_ci()
        && let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())
    {
        let path = PathBuf::from(path);
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(dr_proto::render::markdown(&drawn).as_bytes()))
            .map_err(not_written(&path))?;
    }
    Ok(())
}
