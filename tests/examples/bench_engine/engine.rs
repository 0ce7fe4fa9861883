//! Our part: the vault alone, as the agent uses it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use dr_vault::backup::{self, Request, plain_directory};
use dr_vault::clock::{Clock, SystemClock};
use dr_vault::keys::{Identity, Unlock};
use dr_vault::progress::Progress;
use dr_vault::restore::{self, Options, Place, Selection};
use dr_vault::storage::{self, SharedStorage, StorageOptions};
use dr_vault::{InitOptions, OpenOptions, Repository};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

/// One act, in a process of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Makes the repository.
    #[command(hide = true)]
    Init(Where),
    /// Stores the data as one snapshot.
    #[command(hide = true)]
    Store(Where),
    /// Restores the newest snapshot.
    #[command(hide = true)]
    Restore(Where),
}

/// Where an act takes place.
#[derive(Debug, Args)]
pub(crate) struct Where {
    #[arg(long)]
    repository: String,
    #[arg(long)]
    data: PathBuf,
    /// Cache and key.
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    restored: PathBuf,
    /// Of an S3 server; credentials come from the environment.
    #[arg(long)]
    endpoint: Option<String>,
}

/// Runs one act.
pub(crate) fn run(part: &Part) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match part {
            Part::Init(place) => init(place).await,
            Part::Store(place) => store(place).await,
            Part::Restore(place) => restore(place).await,
        }
    })
}

async fn init(place: &Where) -> Result<()> {
    std::fs::create_dir_all(&place.state).context("make the state's folder")?;
    let identity = Identity::generate();
    let options = InitOptions {
        recipients: vec![identity.recipient()],
        ..InitOptions::default()
    };
    Repository::init(place.storage().await?, options, place.open_options())
        .await
        .context("make the repository")?;
    std::fs::write(place.key(), identity.to_file_text().expose_secret()).context("write the key")
}

async fn store(place: &Where) -> Result<()> {
    let repository = place.open().await?;
    let mut request = Request::new(SystemClock.now(), "bench", "bench");
    request
        .inputs
        .push(plain_directory(&place.data).context("list the data")?);
    let outcome = backup::run(&repository, request, &Progress::new(), &CancellationToken::new()).await;
    outcome.map(drop).context("store the data")
}

async fn restore(place: &Where) -> Result<()> {
    let repository = place.open().await?;
    repository
        .sync_index()
        .await
        .context("bring the index up to date")?;
    let newest = repository
        .resolve("latest")
        .await
        .context("find the newest snapshot")?
        .id;
    let manifest = repository.manifest(&newest).await.context("read the manifest")?;
    let target = Place::Directory(place.restored.clone());
    let plan = restore::plan(
        &repository,
        newest,
        &manifest,
        Selection::whole(),
        &target,
        Options::default(),
    );
    let plan = plan.await.context("plan the restore")?;
    let (progress, cancel) = (Progress::new(), CancellationToken::new());
    let staged = restore::execute(&repository, &manifest, plan, &place.state, &progress, &cancel);
    staged
        .await
        .context("restore")?
        .commit()
        .await
        .map(drop)
        .context("swap in what was restored")
}

impl Where {
    fn key(&self) -> PathBuf {
        self.state.join("key")
    }

    fn open_options(&self) -> OpenOptions {
        OpenOptions::new(self.state.join("cache"))
    }

    async fn storage(&self) -> Result<SharedStorage> {
        let mut options = StorageOptions::default();
        options.s3.endpoint.clone_from(&self.endpoint);
        storage::open(&self.repository, &options)
            .await
            .context("open the store")
    }

    async fn open(&self) -> Result<Repository> {
        let unlock = Unlock::Identities(Identity::from_file(&self.key()).context("read the key")?);
        Repository::open(self.storage().await?, &unlock, self.open_options())
            .await
            .context("open the repository")
    }
}
