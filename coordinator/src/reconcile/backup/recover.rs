//! The way back from a copy to a store.
//!
//! # Crash consistency
//! The copy is opened under a temporary name, checked, told that it is a copy (so that agents are asked for what they
//! remember), and gets the store's name last. A crash before that leaves no store, and the same command does it again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use age::IdentityFile;
use dr_store::{Checked, SharedClock, Store};
use serde_json::json;

use super::{Error, failed, seal};

/// What was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The store's file.
    pub path: PathBuf,
    /// What the copy was found to hold. A broken audit chain is reported and does not stop the recovery: the store is
    /// needed, and the break is then known.
    pub checked: Checked,
}

/// Makes the store at `url` from the copy at `from`, opened with the age identities in `identity`.
///
/// # Errors
/// When there is a store already, the copy can not be opened with the identity, or is not whole. No store is left then.
pub async fn recover(
    from: &Path,
    identity: &Path,
    url: &str,
    by: &str,
    clock: SharedClock,
) -> Result<Recovered, Error> {
    let path = Store::file_of(url)?;
    refuse_live(&path)?;
    let part = part_of(&path);
    let (source, key, target) = (from.to_owned(), identity.to_owned(), part.clone());
    tokio::task::spawn_blocking(move || open_copy(&source, &key, &target)).await??;
    let checked = match Store::check_copy(&part).await {
        Ok(checked) => checked,
        Err(error) => {
            seal::remove(&part)?;
            return Err(error.into());
        }
    };
    dr_store::failpoint::reach("recover.checked");
    let store = Store::open(&format!("sqlite://{}", part.display()), clock).await?;
    let details = json!({ "from": from.file_name().map(|name| name.to_string_lossy()), "runs": checked.runs,
        "epoch": checked.epoch });
    store
        .audit()
        .append(by, "store.recover", "store", &details)
        .await?;
    store.hosts().recall_histories().await?;
    // What is in its journal goes into the file with that.
    store.close().await;
    dr_store::failpoint::reach("recover.told");
    refuse_live(&path)?;
    fs::rename(&part, &path).map_err(|source| failed("rename to", &path, source))?;
    if let Some(folder) = path.parent() {
        seal::sync_folder(folder)?;
    }
    Ok(Recovered { path, checked })
}

/// The files of a store, its journals among them.
fn files_of(path: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// A live store is never overwritten, nor a journal that belongs to one.
fn refuse_live(path: &Path) -> Result<(), Error> {
    for file in files_of(path) {
        match fs::symlink_metadata(&file) {
            Ok(_) => return Err(Error::Exists(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed("look at", &file, source)),
        }
    }
    Ok(())
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".recovering");
    PathBuf::from(name)
}

/// Decrypts a copy into `target`, durably.
fn open_copy(from: &Path, identity: &Path, target: &Path) -> Result<(), Error> {
    let identities = identities(identity)?;
    // A journal that an interrupted recovery left would be taken for that of the new copy.
    files_of(target).iter().try_for_each(|file| seal::remove(file))?;
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(|source| failed("create", folder, source))?;
    }
    let opened = decrypt(from, &identities, target);
    if opened.is_err() {
        seal::remove(target)?;
    }
    opened
}

fn decrypt(from: &Path, identities: &[Box<dyn age::Identity>], target: &Path) -> Result<(), Error> {
    let input = File::open(from).map_err(|source| failed("open", from, source))?;
    let wrong = |source| Error::Decrypt {
        path: from.to_owned(),
        source,
    };
    let decryptor = age::Decryptor::new_buffered(io::BufReader::new(input)).map_err(wrong)?;
    let mut reader = decryptor
        .decrypt(identities.iter().map(|identity| &**identity))
        .map_err(wrong)?;
    let mut output = seal::create_private(target)?;
    io::copy(&mut reader, &mut output).map_err(|source| failed("copy into", target, source))?;
    output.sync_all().map_err(|source| failed("sync", target, source))
}

fn identities(path: &Path) -> Result<Vec<Box<dyn age::Identity>>, Error> {
    let file = File::open(path).map_err(|source| failed("open", path, source))?;
    let read = IdentityFile::from_buffer(io::BufReader::new(file));
    let parsed = read.map_err(|source| failed("read", path, source))?;
    let none = |source| Error::Identity {
        path: path.to_owned(),
        source,
    };
    let identities = parsed.into_identities().map_err(|error| none(Some(error)))?;
    if identities.is_empty() {
        Err(none(None))
    } else {
        Ok(identities
            .into_iter()
            .map(|id| id as Box<dyn age::Identity>)
            .collect())
    }
}
