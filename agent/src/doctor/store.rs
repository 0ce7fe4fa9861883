//! The store and the repository in it: reachable, readable, writable, opened by this host's key, and openable by a
//! key that is elsewhere.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use dr_vault::storage::{self, Key, PutMode, Storage};
use dr_vault::{Cipher, Freshness, Repository, layout};
use futures::StreamExt;
use jiff::Timestamp;

use super::{Finding, Grade};
use crate::config::Period;
use crate::error::Failure;
use crate::exit::Code;
use crate::session::Session;

/// What is stored and removed to see whether that works: always the same, so that a store that keeps it keeps nothing
/// that matters, and a name that the format knows, so that no check takes it for something strange.
const PROBE_BODY: &[u8] = b"dr-agent doctor was here to see whether it may write; this can be removed\n";
/// A store that needs longer is not usable.
const PATIENCE: Duration = Duration::from_secs(45);
/// Clocks further apart than this confuse retention and intents.
const SKEW: Duration = Duration::from_secs(30);

pub(super) async fn examine(session: &Session) -> Vec<Finding> {
    if session.config.repository.is_none() {
        return vec![Finding::broken(
            "repository",
            "none is configured",
            "name one under [repository], or by --repository URL",
            Code::Configuration,
        )];
    }
    let mut findings = vec![key_file(session)];
    let store = match session.storage().await {
        Ok(store) => store,
        Err(failure) => {
            findings.push(of_failure("store", &failure));
            return findings;
        }
    };
    match tokio::time::timeout(PATIENCE, access(&*store, session.clock.now())).await {
        Ok(access) => findings.extend(access),
        Err(_) => findings.push(too_slow(&*store)),
    }
    if findings.iter().any(|finding| finding.grade == Grade::Broken) {
        return findings;
    }
    match tokio::time::timeout(PATIENCE, session.repository()).await {
        Ok(Ok(repository)) => findings.extend(contents(session, &repository).await),
        Ok(Err(failure)) => findings.push(of_failure("repository", &failure)),
        Err(_) => findings.push(too_slow(&*store)),
    }
    findings
}

fn of_failure(subject: &str, failure: &Failure) -> Finding {
    let hints = failure.hints();
    let fix = if hints.is_empty() {
        "see the message".to_owned()
    } else {
        hints.join("; ")
    };
    Finding::broken(subject, failure.to_string(), fix, failure.class().code())
}

fn too_slow(store: &dyn Storage) -> Finding {
    Finding::broken(
        "store",
        format!("{} did not answer within {}", store.location(), Period(PATIENCE)),
        "check network, endpoint, proxy and firewall",
        Code::Unreachable,
    )
}

/// The key file alone: there, and nobody else's to read.
fn key_file(session: &Session) -> Finding {
    const SUBJECT: &str = "key";
    let repository = session.config.repository.as_ref();
    let Some(path) = repository.and_then(|repository| repository.key_file.as_ref()) else {
        return match repository.and_then(|repository| repository.key_command.as_ref()) {
            Some(command) => Finding::fine(SUBJECT, format!("from the command {}", command.join(" "))),
            None if session.passphrase.is_some() => Finding::fine(SUBJECT, "a passphrase"),
            None => Finding::warning(
                SUBJECT,
                "neither key_file nor key_command is configured",
                "right only for a repository without encryption",
            ),
        };
    };
    match std::fs::metadata(path) {
        Err(error) => Finding::broken(
            SUBJECT,
            format!("{}: {error}", path.display()),
            "`dr-agent init` makes it; on a restored host put the recovery key there or use --identity",
            Code::Configuration,
        ),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Finding::warning(
            SUBJECT,
            format!(
                "{} can be read by others (mode {:o})",
                path.display(),
                meta.permissions().mode() & 0o777
            ),
            format!("chmod 600 {}", path.display()),
        ),
        Ok(_) => Finding::fine(SUBJECT, path.display().to_string()),
    }
}

/// List, write, read back, compare clocks, remove.
async fn access(store: &dyn Storage, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(Err(error)) = store.list("").next().await {
        return vec![refused("list", error)];
    }
    findings.push(Finding::fine("store", format!("{} answers", store.location())));
    let key = Key::new(layout::DOCTOR);
    let body = Bytes::from_static(PROBE_BODY);
    match store.put(&key, body.clone(), PutMode::Overwrite).await {
        Ok(_) => {}
        // A bucket that lets nobody overwrite refuses the second doctor, which is as it should be.
        Err(storage::Error::Denied { .. }) if store.head(&key).await.is_ok() => {
            findings.push(Finding::fine(
                "store, write",
                format!(
                    "create-only: an existing object may not be replaced; {key} stays from an earlier look"
                ),
            ));
            return findings;
        }
        Err(error) => {
            findings.push(refused("write", error));
            return findings;
        }
    }
    match store.get(&key, None).await {
        Ok(found) if found == body => findings.push(Finding::fine("store, write and read", "works")),
        Ok(_) => findings.push(Finding::broken(
            "store, read",
            "what was written came back different",
            "do not use this store: it loses or mixes objects",
            Code::Damaged,
        )),
        Err(error) => findings.push(refused("read", error)),
    }
    findings.push(clock(store, &key, now).await);
    findings.push(removal(store, &key).await);
    findings
}

fn refused(what: &str, error: storage::Error) -> Finding {
    of_failure(&format!("store, {what}"), &Failure::from(error))
}

async fn clock(store: &dyn Storage, key: &Key, now: Timestamp) -> Finding {
    const SUBJECT: &str = "clock";
    if !store.capabilities().own_clock {
        return Finding::fine(SUBJECT, "the store has none of its own to compare with");
    }
    match store.head(key).await {
        Ok(meta) => {
            let apart = meta.modified.duration_since(now).unsigned_abs();
            let shown = Period(Duration::from_secs(apart.as_secs()));
            if apart <= SKEW {
                Finding::fine(SUBJECT, format!("within {} of the store's", Period(SKEW)))
            } else {
                Finding::broken(
                    SUBJECT,
                    format!("{shown} apart from the store's"),
                    "set this host's clock (NTP): ages, intents and retention go by it",
                    Code::Configuration,
                )
            }
        }
        Err(error) => refused("head", error),
    }
}

async fn removal(store: &dyn Storage, key: &Key) -> Finding {
    const SUBJECT: &str = "store, delete";
    match store.delete(key).await {
        Ok(()) => Finding::fine(
            SUBJECT,
            "allowed: an intruder on this host could delete snapshots; credentials without it are safer",
        ),
        Err(storage::Error::Denied { .. }) => Finding::fine(
            SUBJECT,
            format!(
                "refused, as it should be for an agent; {key} stays behind: {} bytes that say so, the same ones every time",
                PROBE_BODY.len()
            ),
        ),
        Err(error) => refused("delete", error),
    }
}

async fn contents(session: &Session, repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let clear = repository.config().cipher == Cipher::None;
    findings.push(if clear {
        Finding::warning(
            "repository",
            format!("{} opens; NOT ENCRYPTED", repository.id()),
            "whoever can read the store can read the data; a new repository without --no-encryption is safer",
        )
    } else {
        Finding::fine("repository", format!("{} opens with this key", repository.id()))
    });
    if !clear {
        findings.push(recovery(repository, session.passphrase.is_some()).await);
    }
    findings.push(freshness(repository).await);
    findings.push(newest(session, repository).await);
    findings
}

/// Two key objects at least, this host's and one that outlives it; or a passphrase, which heads and safes hold.
async fn recovery(repository: &Repository, passphrase: bool) -> Finding {
    const SUBJECT: &str = "recovery key";
    match repository.keys().await {
        Ok(keys) if keys.len() > 1 => {
            Finding::fine(SUBJECT, format!("{} keys open the repository", keys.len()))
        }
        Ok(_) if passphrase => Finding::fine(
            SUBJECT,
            "the passphrase alone opens the repository: keep it where it outlives this host",
        ),
        Ok(_) => Finding::broken(
            SUBJECT,
            "only one key opens the repository: if it is this host's, a lost host is a lost backup",
            "make a new repository with a recovery recipient",
            Code::Configuration,
        ),
        Err(error) => of_failure(SUBJECT, &error.into()),
    }
}

async fn freshness(repository: &Repository) -> Finding {
    const SUBJECT: &str = "freshness";
    match repository.freshness().await {
        Ok(Freshness::Fresh) => Finding::fine(SUBJECT, "all that this host remembers is there"),
        Ok(Freshness::Unknown) => Finding::fine(SUBJECT, "unknown: this host remembers nothing of it yet"),
        Ok(Freshness::RolledBack { expected, .. }) => Finding::broken(
            SUBJECT,
            format!("snapshot {expected} is remembered and gone: an older state was put back"),
            format!(
                "find out who replaced the store's content, and put its newest state back; if it was on purpose, remove {}",
                repository.memory().display()
            ),
            Code::Damaged,
        ),
        Err(error) => of_failure(SUBJECT, &error.into()),
    }
}

async fn newest(session: &Session, repository: &Repository) -> Finding {
    const SUBJECT: &str = "newest snapshot";
    match repository.snapshots().await {
        Ok(all) => match all.iter().max_by_key(|info| info.time) {
            Some(info) => {
                let age = session.clock.now().duration_since(info.time).unsigned_abs();
                let age = Period(Duration::from_secs(age.as_secs()));
                Finding::fine(SUBJECT, format!("{age} old, of {}", all.len()))
            }
            None => Finding::warning(SUBJECT, "none yet", "`dr-agent snapshot` takes one"),
        },
        Err(error) => of_failure(SUBJECT, &error.into()),
    }
}
