//! Which machine writes: an id that is made once in the state folder.
//!
//! ## Overview
//! A host that was lost and built anew has its old name, its old certificate identity and its old repository, and a new
//! state folder. By this id the first snapshot of the new machine is told from one more snapshot of the old, so that
//! it is [not trusted blindly](crate::cut::suspect).
//!
//! ## Crash consistency
//! The file is written beside its place and renamed. A crash before that leaves none, and the next start makes another:
//! nothing was written under the first.

use std::io::Write;
use std::path::Path;

use uuid::Uuid;

use super::Error;

/// The id of this machine, made where there is none yet.
///
/// # Errors
/// [`Error::File`] when it can be neither read nor made. A file that holds something else is not replaced.
pub(super) fn id(root: &Path) -> Result<Uuid, Error> {
    let path = root.join("writer");
    match std::fs::read_to_string(&path) {
        Ok(text) => Uuid::parse_str(text.trim()).map_err(|error| {
            let what = format!(
                "it holds no id ({error}): remove it, and the next snapshot is judged as the first of another machine"
            );
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
            Error::file("read the machine's id in", path)(source)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(root, &path),
        Err(error) => Err(Error::file("read the machine's id in", path)(error)),
    }
}

fn make(root: &Path, path: &Path) -> Result<Uuid, Error> {
    let id = Uuid::new_v4();
    let failed = || Error::file("write the machine's id to", path);
    let unfinished = root.join(format!("writer.{}.tmp", std::process::id()));
    let mut file = std::fs::File::create(&unfinished).map_err(failed())?;
    writeln!(file, "{id}").map_err(failed())?;
    file.sync_all().map_err(failed())?;
    std::fs::rename(&unfinished, path).map_err(failed())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_id_and_another_has_another() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = id(one.path()).unwrap();
        assert_eq!(id(one.path()).unwrap(), first);
        assert_ne!(id(other.path()).unwrap(), first);
        std::fs::write(one.path().join("writer"), "something else").unwrap();
        let error = id(one.path()).unwrap_err();
        assert!(error.to_string().contains("writer"), "{error}");
        let kept = std::fs::read_to_string(one.path().join("writer")).unwrap();
        assert_eq!(kept, "something else");
    }
}
