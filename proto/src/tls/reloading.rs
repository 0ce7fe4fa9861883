//! Certificates that change while we run.
//!
//! # Overview
//! [`Reloading`] holds the [`Material`] of the moment. New connections take it as it is then; connections that live
//! keep what they were made with, unless the root that vouches for them is gone. [`Reloading::follow`] looks at the
//! files from time to time and when nudged.
//!
//! # Consistency
//! New files count only when all three fit together and name the same identity as before. Until then the old ones
//! stay in use, and [`Reloading::problem`] says why the new ones do not count.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::time_provider::TimeProvider;
use tokio::sync::{Notify, watch};

use super::files::Files;
use super::material::{Material, MaterialError, now};
use crate::causes::in_one_line;
use crate::model::Role;

/// The material of the moment, and where the next comes from.
#[derive(Debug)]
pub struct Reloading {
    files: Files,
    roles: &'static [Role],
    time: Arc<dyn TimeProvider>,
    current: ArcSwap<Material>,
    /// What the files held when they were last looked at, good or bad.
    seen: Mutex<blake3::Hash>,
    problem: Mutex<Option<String>>,
    generation: watch::Sender<u64>,
    nudged: Notify,
}

/// What a look at the files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same as before.
    Unchanged,
    /// Something new, which is in use now.
    Replaced,
}

impl Reloading {
    /// Reads `files` for the first time. The certificate must be that of one of `roles`.
    ///
    /// # Errors
    /// When the files cannot be used: there is nothing to fall back to.
    pub fn open(
        files: Files,
        roles: &'static [Role],
        time: Arc<dyn TimeProvider>,
    ) -> Result<Arc<Self>, MaterialError> {
        let contents = files.read()?;
        let seen = contents.digest();
        let material = Material::judge(contents, &files, &time)?;
        material.require(&files, roles)?;
        Ok(Arc::new(Self {
            files,
            roles,
            time,
            current: ArcSwap::from_pointee(material),
            seen: Mutex::new(seen),
            problem: Mutex::new(None),
            generation: watch::Sender::new(0),
            nudged: Notify::new(),
        }))
    }

    /// What is in use now.
    pub fn current(&self) -> Arc<Material> {
        self.current.load_full()
    }

    /// The present moment by the clock that judges certificates.
    ///
    /// # Errors
    /// When there is none.
    pub fn now(&self) -> Result<Timestamp, MaterialError> {
        now(self.time.as_ref())
    }

    /// Whether whoever shows this chain would be let in now. Without a clock nobody would.
    pub(super) fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let now = self.time.current_time();
        now.is_some_and(|now| self.current().trusts(chain, now))
    }

    /// Where it comes from.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Changes with each replacement: who holds a connection may want to make a new one.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Why the files as they are now are not in use. `None`: they are.
    pub fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Looks at the files now. It reads files: from async code, on a blocking thread, as [`Reloading::follow`] does.
    ///
    /// # Errors
    /// When they cannot be used; what was in use stays.
    pub fn reload(&self) -> Result<Change, MaterialError> {
        let outcome = self.replace();
        let problem = outcome.as_ref().err().map(|error| in_one_line(error));
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        outcome
    }

    fn replace(&self) -> Result<Change, MaterialError> {
        let contents = self.files.read()?;
        let digest = contents.digest();
        // Held until the end: two looks at a time would race for which one is newer.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == digest && self.problem().is_none() {
            return Ok(Change::Unchanged);
        }
        let material = Material::judge(contents, &self.files, &self.time)?;
        material.require(&self.files, self.roles)?;
        let current = self.current();
        let (old, new) = (&current.certificate().identity, &material.certificate().identity);
        if old != new {
            return Err(MaterialError::IdentityChanged {
                path: self.files.certificate.clone(),
                old: old.to_string(),
                new: new.to_string(),
            });
        }
        if std::mem::replace(&mut *seen, digest) == digest {
            return Ok(Change::Unchanged);
        }
        self.current.store(Arc::new(material));
        self.generation.send_modify(|generation| *generation += 1);
        Ok(Change::Replaced)
    }

    /// Has [`Reloading::follow`] look at the files at once: after writing new ones, or on SIGHUP.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Looks at the files every `every` and when nudged; never ends by itself. Says what it finds in the log: each
    /// replacement, and each new reason why files cannot be used.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.nudged.notified() => {}
            }
            let before = self.problem();
            let this = self.clone();
            match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(Ok(Change::Unchanged)) => {}
                Ok(Ok(Change::Replaced)) => self.say_replaced(),
                Ok(Err(_)) => self.say_problem(before),
                Err(error) => tracing::error!(%error, "looking at the certificates panicked"),
            }
        }
    }

    fn say_replaced(&self) {
        let material = self.current();
        let certificate = material.certificate();
        tracing::info!(
            identity = %certificate.identity,
            serial = %certificate.serial,
            not_after = %certificate.not_after,
            roots = material.roots().len(),
            "new certificates are in use"
        );
    }

    fn say_problem(&self, before: Option<String>) {
        let problem = self.problem();
        if problem != before {
            tracing::error!(
                problem = problem.unwrap_or_default(),
                "new certificates cannot be used; the old ones stay in use"
            );
        }
    }
}
