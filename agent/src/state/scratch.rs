//! Folders that belong to a running command and vanish with it: restored files of drills, staging of cuts.
//!
//! ## Crash consistency
//! A claim is made under a name that starts with `.new-`, gets an owner file, locks it and is then renamed. Whatever
//! the moment of a kill: an owner file that nobody locks marks a folder to be swept; a `.new-` folder without one is
//! empty. Folders without an owner file are not ours and are never touched.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, private_dir};

const OWNER: &str = ".dr-agent-owner";
const UNNAMED: &str = ".new-";

/// What the owner file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process that made the folder.
    pub pid: u32,
    /// What for.
    pub purpose: String,
    /// When.
    pub created: Timestamp,
    /// Kept for a look until then, although its owner has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
}

/// A folder of claims.
#[derive(Debug, Clone)]
pub struct Area {
    root: PathBuf,
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Folders that were removed.
    pub removed: Vec<PathBuf>,
    /// Folders that are kept for a look, and until when.
    pub kept: Vec<(PathBuf, Timestamp)>,
    /// Folders that could not be removed, and why.
    pub stuck: Vec<(PathBuf, String)>,
}

impl Area {
    /// The area at `root`; nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The area's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a folder of one's own.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn claim(&self, purpose: &str, now: Timestamp) -> Result<Claim, Error> {
        private_dir(&self.root)?;
        let id = Uuid::now_v7();
        let unnamed = self.root.join(format!("{UNNAMED}{id}"));
        private_dir(&unnamed)?;
        let owner = Owner {
            pid: std::process::id(),
            purpose: purpose.to_owned(),
            created: now,
            keep_until: None,
        };
        let claim = own(&unnamed, &owner).map_err(Error::file("claim the folder", &unnamed))?;
        let path = self.root.join(format!("{purpose}-{id}"));
        std::fs::rename(&unnamed, &path).map_err(Error::file("name the folder", &path))?;
        Ok(Claim {
            path,
            owner,
            lock: Some(claim),
        })
    }

    /// Removes what owners that are gone have left, except what is kept for a look until after `now`.
    ///
    /// # Errors
    /// When the area cannot be listed; a folder that cannot be removed is named in the answer instead.
    pub fn sweep(&self, now: Timestamp) -> Result<Sweep, Error> {
        let mut sweep = Sweep::default();
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sweep),
            Err(error) => return Err(Error::file("list", &self.root)(error)),
        };
        for entry in entries {
            let path = entry.map_err(Error::file("list", &self.root))?.path();
            match state_of(&path) {
                State::Foreign | State::Alive => {}
                State::Empty => drop(std::fs::remove_dir(&path)),
                State::Left(Some(until)) if until > now => sweep.kept.push((path, until)),
                State::Left(_) => match remove(&path) {
                    Ok(()) => sweep.removed.push(path),
                    Err(error) => sweep.stuck.push((path, error.to_string())),
                },
            }
        }
        Ok(sweep)
    }
}

/// A folder of one's own; removed when dropped, unless kept.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    owner: Owner,
    lock: Option<File>,
}

impl Claim {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder for a look until then; a sweep after that removes it.
    ///
    /// # Errors
    /// When the owner file cannot be written; the folder is then removed.
    pub fn keep(mut self, until: Timestamp) -> Result<PathBuf, Error> {
        self.owner.keep_until = Some(until);
        let unfinished = self.path.join(format!("{OWNER}.new"));
        let written = write_owner(&unfinished, &self.owner)
            .and_then(|_| std::fs::rename(&unfinished, self.path.join(OWNER)));
        written.map_err(Error::file("mark the folder", &self.path))?;
        self.lock = None;
        Ok(std::mem::take(&mut self.path))
    }

    /// Removes the folder now.
    ///
    /// # Errors
    /// When the system refuses; the next sweep tries again.
    pub fn remove(mut self) -> Result<(), Error> {
        let path = std::mem::take(&mut self.path);
        remove(&path).map_err(Error::file("remove", path))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "left behind; the next start sweeps it");
        }
    }
}

fn own(folder: &Path, owner: &Owner) -> io::Result<File> {
    let file = write_owner(&folder.join(OWNER), owner)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn write_owner(path: &Path, owner: &Owner) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(owner)?)?;
    Ok(file)
}

/// Who owns a folder of an area, or owned it; `None` if that can not be told.
pub fn owner(folder: &Path) -> Option<Owner> {
    serde_json::from_reader(File::open(folder.join(OWNER)).ok()?).ok()
}

enum State {
    Foreign,
    Empty,
    Alive,
    Left(Option<Timestamp>),
}

fn state_of(path: &Path) -> State {
    let Ok(file) = File::open(path.join(OWNER)) else {
        let unnamed = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(UNNAMED));
        return if unnamed { State::Empty } else { State::Foreign };
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return State::Alive;
    }
    let owner: Option<Owner> = serde_json::from_reader(&file).ok();
    State::Left(owner.and_then(|owner| owner.keep_until))
}

/// Removes a folder with all that is in it, also where restored modes forbid its owner to write.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            std::fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_writable(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_claim_vanishes_with_its_owner() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let area = Area::new(dir.path().join("scratch"));
        let now = time("2026-01-01T00:00:00Z");
        let claim = area.claim("drill", now).expect("claim");
        let path = claim.path().to_owned();
        std::fs::write(path.join("file"), b"x").expect("write");
        assert_eq!(
            area.sweep(now).expect("sweep"),
            Sweep::default(),
            "its owner lives"
        );
        drop(claim);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_owner_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let area = Area::new(dir.path());
        let now = time("2026-01-01T00:00:00Z");
        let mut claim = area.claim("drill", now).expect("claim");
        let left = claim.path().to_owned();
        // As a kill leaves it: the lock is gone, the folder is there.
        claim.lock = None;
        drop(std::mem::take(&mut claim.path));
        let locked = left.join("read-only");
        std::fs::create_dir(&locked).expect("create");
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).expect("chmod");
        std::fs::create_dir(dir.path().join("somebody-elses")).expect("create");
        std::fs::create_dir(dir.path().join(".new-0")).expect("create");
        let sweep = area.sweep(now).expect("sweep");
        assert_eq!(sweep.removed, [left]);
        let rest: Vec<_> = std::fs::read_dir(dir.path())
            .expect("list")
            .filter_map(Result::ok)
            .collect();
        assert_eq!(rest.len(), 1, "only the foreign folder stays: {rest:?}");
    }

    #[test]
    fn what_is_kept_stays_until_its_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let area = Area::new(dir.path());
        let (now, until) = (time("2026-01-01T00:00:00Z"), time("2026-01-02T00:00:00Z"));
        let path = area
            .claim("drill", now)
            .expect("claim")
            .keep(until)
            .expect("keep");
        assert_eq!(area.sweep(now).expect("sweep").kept, [(path.clone(), until)]);
        assert_eq!(area.sweep(until).expect("sweep").removed, [path]);
    }
}
