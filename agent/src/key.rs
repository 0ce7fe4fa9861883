//! The key that opens this host's repository: from a file, from a command, from a passphrase file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dr_vault::keys::{Identity, Unlock};
use secrecy::SecretString;
use tokio::process::Command;

use crate::config::{Period, Repository};

/// How long a key command may take if nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// More than any key needs; a command that prints more is not one.
const MOST: usize = 64 << 10;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file cannot be used.
    #[error("use the key in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: dr_vault::Error,
    },
    /// The passphrase file cannot be read.
    #[error("read the passphrase in {}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The key command cannot be started.
    #[error("start the key command {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The key command did not end in time.
    #[error("the key command {program} did not end within {limit}; it was killed")]
    TimedOut {
        /// The program.
        program: String,
        /// Its time.
        limit: Period,
    },
    /// The key command failed.
    #[error("the key command {program} ended with {status}: {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote to stderr.
        said: String,
    },
    /// The key command printed something else than a key.
    #[error("the key command {program} printed no key")]
    NoKey {
        /// The program.
        program: String,
        /// What is wrong with it.
        source: dr_vault::Error,
    },
}

/// What opens the repository: the key file, the key command's answer, or nothing if none is configured.
///
/// # Errors
/// When what is configured yields no key.
pub async fn unlock(repository: &Repository) -> Result<Unlock, Error> {
    if let Some(path) = &repository.key_file {
        return from_file(path).map(Unlock::Identities);
    }
    match &repository.key_command {
        Some(command) => from_command(command, repository.key_command_timeout)
            .await
            .map(Unlock::Identities),
        None => Ok(Unlock::Nothing),
    }
}

/// The identities in a file.
///
/// # Errors
/// When the file cannot be read or holds none.
pub fn from_file(path: &Path) -> Result<Vec<Identity>, Error> {
    Identity::from_file(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

/// The passphrase in a file: its first line.
///
/// # Errors
/// When the file cannot be read or is empty.
pub fn passphrase(path: &Path) -> Result<SecretString, Error> {
    let complain = |source| Error::Passphrase {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(complain)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(complain(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "its first line is empty",
        )));
    }
    Ok(SecretString::from(line.to_owned()))
}

/// The identities that a command prints. It runs without a shell and without our stdin; its group is killed when
/// its time is over.
///
/// # Errors
/// When it cannot be started, fails, takes too long or prints no key.
pub async fn from_command(command: &[String], timeout: Option<Period>) -> Result<Vec<Identity>, Error> {
    let limit = timeout.map_or(TIMEOUT, |period| period.0);
    let (program, arguments) = match command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => (String::new(), &[][..]),
    };
    let child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Start {
            program: program.clone(),
            source,
        })?;
    let output = match tokio::time::timeout(limit, child.wait_with_output()).await {
        Err(_) => {
            return Err(Error::TimedOut {
                program,
                limit: Period(limit),
            });
        }
        Ok(Err(source)) => return Err(Error::Start { program, source }),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        let said = tail(&String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed {
            program,
            status: output.status,
            said,
        });
    }
    let text = String::from_utf8_lossy(output.stdout.get(..MOST).unwrap_or(&output.stdout)).into_owned();
    Identity::from_text(&SecretString::from(text)).map_err(|source| Error::NoKey { program, source })
}

/// The last lines of what a command said, on one line.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
