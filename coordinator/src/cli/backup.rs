//! `dr-coordinator backup`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dr_proto::model::exit::Code;
use dr_store::{Store, SystemClock};
use dr_terminal::Ui;
use serde::Serialize;

use super::Global;
use crate::config;
use crate::error::{Class, Doing, Failure, Outcome};
use crate::reconcile::backup::{BackedUp, Backup};

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder for the copy, instead of the configured one
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// An age public key that can read it, instead of the configured ones; may be given several times
    #[arg(long = "recipient", value_name = "KEY")]
    recipients: Vec<String>,
}

#[derive(Serialize)]
struct Made {
    copy: PathBuf,
    bytes: u64,
    pruned: usize,
}

pub(super) async fn run(global: &Global, ui: &Ui, arguments: &Arguments) -> Outcome {
    let config = global.load()?;
    let wanted = wanted(config.backup, arguments)?;
    let clock = Arc::new(SystemClock);
    // Opening makes a store that is not there: a copy of nothing would look like a copy.
    let file = Store::file_of(&config.store)?;
    if !file.exists() {
        return Err(Failure::new(
            Class::NotFound,
            format!("there is no store at {}", file.display()),
        ));
    }
    let store = Store::open(&config.store, clock)
        .await
        .doing(|| "open the store".to_owned())?;
    let backup = Backup::new(store.clone(), wanted.options())?;
    let done = backup.now().await;
    store.close().await;
    let BackedUp::Made { name, bytes, pruned } = done? else {
        return Err(Failure::new(
            Class::Internal,
            "no copy was made although one was asked for",
        ));
    };
    let made = Made {
        copy: wanted.to.join(name),
        bytes,
        pruned,
    };
    if ui.is_json() {
        ui.json(&made)?;
    } else {
        ui.data(&made.copy.display().to_string())?;
        ui.say(&format!(
            "{bytes} bytes, encrypted to {} recipients; {pruned} old copies removed",
            wanted.recipients.len()
        ));
    }
    Ok(Code::Done)
}

/// What is configured, with what the command line says instead.
fn wanted(configured: Option<config::Backup>, arguments: &Arguments) -> Result<config::Backup, Failure> {
    let mut wanted = match (configured, &arguments.to) {
        (Some(configured), _) => configured,
        (None, Some(to)) => config::Backup::once(to.clone()),
        (None, None) => {
            let failure = Failure::new(
                Class::Usage,
                "no `backup` is configured, so that nothing says where to",
            );
            return Err(
                failure.hint("give --to DIR and --recipient KEY, or name `backup` in coordinator.toml")
            );
        }
    };
    if let Some(to) = &arguments.to {
        wanted.to.clone_from(to);
    }
    if !arguments.recipients.is_empty() {
        wanted.recipients.clone_from(&arguments.recipients);
    }
    Ok(wanted)
}
