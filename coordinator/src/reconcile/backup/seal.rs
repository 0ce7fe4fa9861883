//! Encrypts a copy and gives it its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{Error, PART, failed};

/// Readable and writable by the coordinator alone.
const PRIVATE: u32 = 0o600;

/// The recipients that a configuration names.
///
/// # Errors
/// When there are none, or one is not an age recipient.
pub fn parse_recipients(texts: &[String]) -> Result<Vec<age::x25519::Recipient>, Error> {
    if texts.is_empty() {
        return Err(Error::NoRecipient);
    }
    let parse = |text: &String| {
        text.parse().map_err(|reason| Error::Recipient {
            recipient: text.clone(),
            reason,
        })
    };
    texts.iter().map(parse).collect()
}

/// Encrypts `clear` into `folder/name`, durably and all at once. Says how long it became.
pub(super) fn seal(clear: &Path, folder: &Path, name: &str, recipients: &[String]) -> Result<u64, Error> {
    let recipients = parse_recipients(recipients)?;
    let part = folder.join(format!("{name}{PART}"));
    let path = folder.join(name);
    let file = create_private(&part)?;
    let recipients = recipients
        .iter()
        .map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(Error::Encrypt)?;
    let mut input = File::open(clear).map_err(|source| failed("read", clear, source))?;
    let write = |source| failed("write", &part, source);
    let mut output = encryptor.wrap_output(io::BufWriter::new(file)).map_err(write)?;
    io::copy(&mut input, &mut output).map_err(write)?;
    let mut output = output.finish().map_err(write)?;
    output.flush().map_err(write)?;
    output.get_ref().sync_all().map_err(write)?;
    let bytes = output.get_ref().metadata().map_err(write)?.len();
    dr_store::failpoint::reach("backup.sealed");
    fs::rename(&part, &path).map_err(|source| failed("rename to", &path, source))?;
    sync_folder(folder)?;
    Ok(bytes)
}

/// A new file that nobody else may read.
pub(super) fn create_private(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)
        .map_err(|source| failed("create", path, source))
}

/// Makes a folder's entries durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("sync", folder, source))
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}
