//! `dr-agent init`: the repository, the host's key and at least one key that lives elsewhere.
//!
//! ## Crash consistency
//! Key files are written first, whole or not at all, and never overwritten; then the repository is made. An `init`
//! that was cut short is finished by giving it again: it takes the key files that are there. A repository that is
//! complete, opens with this host's key and holds no snapshot yet counts as this one's work.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use dr_vault::keys::{Identity, Recipient, Unlock};
use dr_vault::{Cipher, InitOptions, Repository};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::error::{Class, Doing, Failure, Outcome};
use crate::exit::Code;
use crate::key;
use crate::session::Session;

/// Arguments of `init`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  dr-agent init --generate-recovery-key recovery.key     # then move recovery.key off this host\n  dr-agent init --recovery-recipient age1..."
)]
pub(super) struct Arguments {
    /// An age recipient (age1…) whose private half lives off this host; may be given several times, beside those
    /// of the configuration
    #[arg(long, value_name = "AGE1")]
    recovery_recipient: Vec<String>,
    /// Make a recovery key and write its private half here; move that file off this host
    #[arg(long, value_name = "FILE")]
    generate_recovery_key: Option<PathBuf>,
    /// Also let whoever knows the first line of this file open the repository
    #[arg(long, value_name = "FILE")]
    recovery_passphrase_file: Option<PathBuf>,
    /// Store everything in clear: whoever can read the store can read the data
    #[arg(long, conflicts_with_all = ["recovery_recipient", "generate_recovery_key", "recovery_passphrase_file"])]
    no_encryption: bool,
}

/// What `init` did.
#[derive(Debug, Serialize)]
struct Made {
    repository: String,
    url: String,
    encrypted: bool,
    key_file: Option<PathBuf>,
    recovery_key_file: Option<PathBuf>,
    recovery_recipients: Vec<String>,
    resumed: bool,
}

pub(super) async fn run(session: &Session, arguments: Arguments) -> Outcome {
    let _lock = session.begin("init")?;
    // Stopped at any point it is finished by giving it again.
    session.until_stopped(init(session, &arguments)).await
}

async fn init(session: &Session, arguments: &Arguments) -> Outcome {
    let url = session.repository_config()?.url.clone();
    let keys = if arguments.no_encryption {
        Keys::none()
    } else {
        Keys::prepare(session, arguments).await?
    };
    let options = InitOptions {
        recipients: keys.recipients.clone(),
        passphrase: keys.passphrase.clone(),
        cipher: if arguments.no_encryption {
            Cipher::None
        } else {
            Cipher::Aes256Gcm
        },
        ..InitOptions::default()
    };
    let storage = session.storage().await?;
    let open = session.open_options()?;
    let made = Repository::init(storage, options, open).await;
    let (repository, resumed) = match made {
        Ok(repository) => (repository, false),
        Err(error @ dr_vault::Error::AlreadyInitialised { .. }) => {
            let repository = ours(session, &keys, error).await?;
            admit(session, &repository, &keys.elsewhere).await?;
            (repository, true)
        }
        Err(error) => return Err(error).doing(|| "make the repository".to_owned()),
    };
    report(
        session,
        &Made {
            repository: repository.id().to_string(),
            url,
            encrypted: !arguments.no_encryption,
            key_file: keys.key_file,
            recovery_key_file: keys.recovery_key_file,
            recovery_recipients: keys.recovery,
            resumed,
        },
    )
}

/// The repository that is already there, if it is what an interrupted `init` of ours made.
async fn ours(session: &Session, keys: &Keys, exists: dr_vault::Error) -> Result<Repository, Failure> {
    let opened = Repository::open(session.storage().await?, &keys.unlock, session.open_options()?).await;
    let repository = match opened {
        Ok(repository) => repository,
        // Whose it is was not seen.
        Err(error @ dr_vault::Error::Storage { .. }) => return Err(error.into()),
        Err(_) => return Err(exists.into()),
    };
    let same_cipher = (repository.config().cipher == Cipher::None) == matches!(keys.unlock, Unlock::Nothing);
    let empty = repository.snapshots().await?.is_empty();
    if same_cipher && empty {
        Ok(repository)
    } else {
        Err(exists.into())
    }
}

/// Lets everybody open a repository that was there already who is named now: it may have been made for others, and a
/// recovery key that opens nothing is found out when it is needed. Who can not be asked gets a key object more.
async fn admit(session: &Session, repository: &Repository, elsewhere: &[Elsewhere]) -> Result<(), Failure> {
    for Elsewhere { recipient, unlock } in elsewhere {
        let opens = match unlock {
            Some(unlock) => Repository::open(session.storage().await?, unlock, session.open_options()?)
                .await
                .is_ok(),
            None => false,
        };
        if !opens {
            let added = repository.add_key(recipient).await;
            added.doing(|| "let the recovery key open the repository".to_owned())?;
        }
    }
    Ok(())
}

/// Somebody who can open the repository without this host.
struct Elsewhere {
    recipient: Recipient,
    /// The private half, if it is at hand.
    unlock: Option<Unlock>,
}

/// Who can open the repository, and the files that say so.
struct Keys {
    recipients: Vec<Recipient>,
    elsewhere: Vec<Elsewhere>,
    passphrase: Option<SecretString>,
    unlock: Unlock,
    key_file: Option<PathBuf>,
    recovery_key_file: Option<PathBuf>,
    recovery: Vec<String>,
}

impl Keys {
    fn none() -> Self {
        Self {
            recipients: Vec::new(),
            elsewhere: Vec::new(),
            passphrase: None,
            unlock: Unlock::Nothing,
            key_file: None,
            recovery_key_file: None,
            recovery: Vec::new(),
        }
    }

    async fn prepare(session: &Session, arguments: &Arguments) -> Result<Self, Failure> {
        let config = session.repository_config()?;
        let mut recovery: BTreeSet<String> = config.recovery_recipients.iter().cloned().collect();
        recovery.extend(arguments.recovery_recipient.iter().cloned());
        let named = !recovery.is_empty()
            || arguments.generate_recovery_key.is_some()
            || arguments.recovery_passphrase_file.is_some();
        if !named {
            return Err(no_recovery_key());
        }
        let mut parsed: Vec<Recipient> = Vec::new();
        for recipient in &recovery {
            parsed.push(recipient.parse().map_err(|error: dr_vault::Error| {
                Failure::from(error).context("read the recovery recipients")
            })?);
        }
        let passphrase = passphrase(session, arguments)?;
        let mut elsewhere: Vec<Elsewhere> = parsed.iter().cloned().map(Elsewhere::unknown).collect();
        elsewhere.extend(passphrase.clone().map(|passphrase| Elsewhere {
            recipient: Recipient::Passphrase(passphrase.clone()),
            unlock: Some(Unlock::Passphrase(passphrase)),
        }));
        let host = match (&config.key_file, &config.key_command, &session.passphrase) {
            (Some(path), _, _) => HostKey::File(path),
            (None, Some(command), _) => HostKey::Command(command),
            (None, None, Some(passphrase)) => HostKey::Passphrase(passphrase),
            (None, None, None) => return Err(no_host_key()),
        };
        // Everything that can be refused was; now files are written.
        if let Some(path) = &arguments.generate_recovery_key {
            for identity in ensure_key_file(session, path, "recovery key")? {
                recovery.insert(identity.recipient().to_string());
                parsed.push(identity.recipient());
                elsewhere.push(Elsewhere {
                    recipient: identity.recipient(),
                    unlock: Some(Unlock::Identities(vec![identity])),
                });
            }
        }
        let unlock = match host {
            HostKey::Passphrase(passphrase) => Unlock::Passphrase(passphrase.clone()),
            HostKey::Command(command) => {
                Unlock::Identities(key::from_command(command, config.key_command_timeout).await?)
            }
            HostKey::File(path) => Unlock::Identities(ensure_key_file(session, path, "host key")?),
        };
        if let Unlock::Identities(host) = &unlock {
            parsed.extend(host.iter().map(Identity::recipient));
        }
        let by_file = matches!(unlock, Unlock::Identities(_));
        Ok(Self {
            recipients: parsed,
            elsewhere,
            passphrase,
            unlock,
            key_file: config.key_file.clone().filter(|_| by_file),
            recovery_key_file: arguments.generate_recovery_key.clone(),
            recovery: recovery.into_iter().collect(),
        })
    }
}

impl Elsewhere {
    fn unknown(recipient: Recipient) -> Self {
        Self {
            recipient,
            unlock: None,
        }
    }
}

/// Where this host's own key comes from.
enum HostKey<'a> {
    File(&'a Path),
    Command(&'a [String]),
    Passphrase(&'a SecretString),
}

/// The passphrase that is to open the repository, whether this host uses it, or people elsewhere, or both.
fn passphrase(session: &Session, arguments: &Arguments) -> Result<Option<SecretString>, Failure> {
    let elsewhere = arguments
        .recovery_passphrase_file
        .as_deref()
        .map(key::passphrase)
        .transpose()?;
    match (elsewhere, &session.passphrase) {
        (Some(theirs), Some(ours)) if theirs.expose_secret() != ours.expose_secret() => {
            let what =
                "--passphrase-file and --recovery-passphrase-file hold two passphrases: a repository has one";
            Err(Failure::new(Class::Usage, what).hint("give the same file twice"))
        }
        (Some(passphrase), _) => Ok(Some(passphrase)),
        (None, ours) => Ok(ours.clone()),
    }
}

fn no_recovery_key() -> Failure {
    Failure::new(
        Class::Configuration,
        "no recovery recipient: a key that lives only on this host is lost with it, and every snapshot with the key",
    )
    .hint("write the public half of a key that is kept elsewhere under repository.recovery_recipients, or give --recovery-recipient age1…")
    .hint("or let one be made: --generate-recovery-key FILE, and move FILE off this host")
    .hint("or, where a passphrase is kept elsewhere, too: --recovery-passphrase-file FILE")
}

fn no_host_key() -> Failure {
    Failure::new(Class::Configuration, "no place for this host's key: neither key_file nor key_command is configured")
        .hint("write repository.key_file = \"/etc/drctl/repository.key\", or give --identity FILE; init makes the file")
        .hint("or let a passphrase open it: --passphrase-file FILE")
}

/// The identities in `path`; makes the file with a new one where it is missing.
fn ensure_key_file(session: &Session, path: &Path, what: &str) -> Result<Vec<Identity>, Failure> {
    let there = path
        .try_exists()
        .doing(|| format!("look for the {what} {}", path.display()))?;
    if there {
        session
            .ui
            .say(&format!("Using the {what} that is in {}", path.display()));
        return Ok(key::from_file(path)?);
    }
    let identity = Identity::generate();
    write_private(path, identity.to_file_text().expose_secret().as_bytes())
        .doing(|| format!("write the {what} {}", path.display()))?;
    session
        .ui
        .say(&format!("Wrote a new {what} to {}", path.display()));
    Ok(vec![identity])
}

/// Writes a file that only its owner can read: whole or not at all, and never over another.
fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write_new(&unfinished, text)
        // A link, unlike a rename, refuses to replace what is there.
        .and_then(|()| std::fs::hard_link(&unfinished, path))
        .and_then(|()| std::fs::File::open(folder)?.sync_all());
    let removed = std::fs::remove_file(&unfinished);
    written.and(removed)
}

fn write_new(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn report(session: &Session, made: &Made) -> Outcome {
    let ui = &session.ui;
    if ui.is_json() {
        ui.json(made)?;
        return Ok(Code::Done);
    }
    let verb = if made.resumed {
        "was made before and is yours"
    } else {
        "is made"
    };
    ui.data(&format!("Repository {} at {} {verb}.", made.repository, made.url))?;
    if !made.encrypted {
        ui.data("It is NOT ENCRYPTED: whoever can read the store can read the data.")?;
    }
    if let Some(path) = &made.key_file {
        ui.data(&format!("This host's key: {}", path.display()))?;
    }
    if !made.recovery_recipients.is_empty() {
        ui.data(&format!(
            "Recovery recipients: {}",
            made.recovery_recipients.join(", ")
        ))?;
    }
    if let Some(path) = &made.recovery_key_file {
        ui.data(&format!(
            "MOVE {} OFF THIS HOST NOW, to where you will find it when this host is gone, and delete it here.",
            path.display()
        ))?;
    }
    Ok(Code::Done)
}
