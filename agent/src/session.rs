//! What a running command has at hand: configuration, terminal, clock, the token that ends it, the state folder;
//! and the repository, opened on demand.

use std::time::Duration;

use dr_vault::Repository;
use dr_vault::clock::SharedClock;
use dr_vault::keys::Unlock;
use dr_vault::repository::OpenOptions;
use dr_vault::storage::circuit::Circuit;
use dr_vault::storage::counting::Counters;
use dr_vault::storage::s3::{S3Credentials, S3Options};
use dr_vault::storage::throttled::RateLimit;
use dr_vault::storage::{self, SharedStorage, StorageOptions};
use secrecy::SecretString;

use crate::config::{self, Config, Credentials, ResolvedSource, UploadLimits};
use crate::error::{Class, Doing, Failure, in_one_line};
use crate::key;
use crate::limits::busy::{self, Pace};
use crate::probe::Exits;
use crate::state::scratch::Area;
use crate::state::{Holder, Lock, StateDir, refuse_if_suspended};
use crate::stop::Stop;
use crate::ui::Ui;

/// What a running command has at hand.
#[derive(Debug, Clone)]
pub struct Session {
    /// The configuration, complete and valid.
    pub config: Config,
    /// The terminal.
    pub ui: Ui,
    /// Tells the time.
    pub clock: SharedClock,
    /// Ends work.
    pub stop: Stop,
    /// What was asked of the store.
    pub counters: Counters,
    /// Whether the store was found away.
    pub circuit: Circuit,
    /// How probes ended.
    pub probe_exits: Exits,
    /// A passphrase that opens the repository, instead of the configured key.
    pub passphrase: Option<SecretString>,
}

impl Session {
    /// The state folder, made where it is missing.
    pub fn state(&self) -> Result<StateDir, Failure> {
        Ok(StateDir::create(&self.config.agent.state_dir)?)
    }

    /// Where drills restore to.
    pub fn scratch(&self) -> Area {
        Area::new(self.config.agent.scratch_dir())
    }

    /// Begins a command that writes: refuses while suspended or while another is at work, then sweeps what a killed
    /// one left behind. Held until dropped.
    pub fn begin(&self, command: &str) -> Result<Lock, Failure> {
        let suspend_file = &self.config.agent.suspend_file;
        refuse_if_suspended(suspend_file)?;
        let state = self.state()?;
        let now = self.clock.now();
        let lock = state.lock(Holder::this(command, now))?;
        self.stop.heed_suspend_file(suspend_file.clone());
        for area in [self.scratch(), Area::new(state.staging())] {
            let sweep = area.sweep(now)?;
            for path in &sweep.removed {
                self.ui.say(&format!(
                    "Removed {}, left behind by a command that was killed",
                    path.display()
                ));
            }
            for (path, reason) in &sweep.stuck {
                self.ui.warn(&format!(
                    "{} is left over and cannot be removed: {reason}",
                    path.display()
                ));
            }
        }
        Ok(lock)
    }

    /// [`Session::begin`] for work that can wait: refuses while the host's own hook says that it is busy, and stops
    /// when it says so later. Restores do not ask: they are what the host waits for.
    pub async fn begin_yielding(&self, command: &str) -> Result<Lock, Failure> {
        let lock = self.begin(command)?;
        let Some(name) = &self.config.limits.busy_hook else {
            return Ok(lock);
        };
        let Some(hook) = self.config.hooks.get(name) else {
            // Refused when the configuration was loaded.
            return Ok(lock);
        };
        let asking = async { Ok(busy::ask_twice(hook, Pace::default()).await) };
        if let Err(error) = self.until_stopped(asking).await? {
            let what = format!(
                "the host is busy: hook `{name}` failed twice: {}",
                in_one_line(&error)
            );
            return Err(
                Failure::new(Class::HostBusy, what).hint("give the command again when the host is idle")
            );
        }
        tokio::spawn(busy::watch(
            name.clone(),
            hook.clone(),
            Pace::default(),
            self.stop.clone(),
        ));
        Ok(lock)
    }

    /// The `[repository]` section.
    pub fn repository_config(&self) -> Result<&config::Repository, Failure> {
        self.config.repository.as_ref().ok_or_else(|| {
            Failure::new(Class::Configuration, "no repository is configured")
                .hint("name one with --repository URL, or under [repository] in the configuration")
        })
    }

    /// The store of the repository; no request is made yet.
    pub async fn storage(&self) -> Result<SharedStorage, Failure> {
        let repository = self.repository_config()?;
        let options = StorageOptions {
            s3: s3_options(&repository.s3)?,
            upload: upload_limit(&self.config.limits.upload, self),
            counters: self.counters.clone(),
            circuit: self.circuit.clone(),
            ..StorageOptions::default()
        };
        storage::open(&repository.url, &options)
            .await
            .doing(|| format!("open the store {}", repository.url))
    }

    /// What opens the repository.
    pub async fn unlock(&self) -> Result<Unlock, Failure> {
        match &self.passphrase {
            Some(passphrase) => Ok(Unlock::Passphrase(passphrase.clone())),
            None => Ok(key::unlock(self.repository_config()?).await?),
        }
    }

    /// How the repository is used from this host.
    pub fn open_options(&self) -> Result<OpenOptions, Failure> {
        let state = self.state()?;
        let mut options = OpenOptions::new(state.cache());
        options.state_dir = Some(state.heads());
        options.clock = self.clock.clone();
        Ok(options)
    }

    /// The repository, opened with the configured key; ends early when the command is told to stop.
    pub async fn repository(&self) -> Result<Repository, Failure> {
        let opening = async {
            let unlock = self.unlock().await?;
            let storage = self.storage().await?;
            let opened = Repository::open(storage, &unlock, self.open_options()?).await;
            opened.doing(|| "open the repository".to_owned())
        };
        self.until_stopped(opening).await
    }

    /// Runs `work`, or ends it when the command is told to stop: for work that has nothing to clean up.
    pub async fn until_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.stop.token().cancelled() => Err(Failure::new(Class::Cancelled, "stopped before it was done")),
            done = work => done,
        }
    }

    /// The configured sources with their globs expanded; all, or those named (an entry's name stands for all its
    /// matches).
    pub fn sources(&self, names: &[String]) -> Result<Vec<ResolvedSource>, Failure> {
        if self.config.sources.is_empty() {
            return Err(Failure::new(Class::Configuration, "no source is configured")
                .hint("`dr-agent discover DIR` finds databases and logs and writes a configuration"));
        }
        let all = config::expand_all(&self.config.sources)?;
        if names.is_empty() {
            return Ok(all);
        }
        let fits = |source: &ResolvedSource, name: &str| {
            source.name == name
                || source
                    .name
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        for name in names {
            if !all.iter().any(|source| fits(source, name)) {
                let known: Vec<&str> = all.iter().map(|source| source.name.as_str()).collect();
                return Err(
                    Failure::new(Class::NotFound, format!("no source is called `{name}`"))
                        .hint(format!("configured sources: {}", known.join(", "))),
                );
            }
        }
        Ok(all
            .into_iter()
            .filter(|source| names.iter().any(|name| fits(source, name)))
            .collect())
    }
}

fn s3_options(s3: &config::S3) -> Result<S3Options, Failure> {
    let mut options = S3Options {
        region: s3.region.clone(),
        endpoint: s3.endpoint.clone(),
        path_style: s3.path_style,
        without_checksums: s3.without_checksums,
        ..S3Options::default()
    };
    match &s3.credentials {
        Credentials::DefaultChain => {}
        Credentials::Profile(name) => options.profile = Some(name.clone()),
        Credentials::Static(keys) => {
            let path = &keys.secret_key_file;
            let secret = std::fs::read_to_string(path)
                .doing(|| format!("read the S3 secret in {}", path.display()))?;
            options.credentials = S3Credentials::Static {
                access_key: keys.access_key.clone(),
                secret_key: SecretString::from(secret.trim().to_owned()),
                session_token: None,
            };
        }
    }
    Ok(options)
}

/// A ceiling that follows the hours of the day, if one is configured.
fn upload_limit(limits: &UploadLimits, session: &Session) -> Option<RateLimit> {
    const MINUTE: Duration = Duration::from_secs(60);
    if limits.is_unlimited() {
        return None;
    }
    let (limits, clock) = (limits.clone(), session.clock.clone());
    let zone = jiff::tz::TimeZone::system();
    let now = move || {
        limits
            .at(clock.now().to_zoned_datetime(zone.clone()).datetime())
            .0
            .unwrap_or(u64::MAX)
    };
    let limit = RateLimit::new(now());
    let (stop, follower) = (session.stop.token().clone(), limit.clone());
    tokio::spawn(async move {
        while stop
            .run_until_cancelled(tokio::time::sleep(MINUTE))
            .await
            .is_some()
        {
            follower.set(now());
        }
    });
    Some(limit)
}
