//! Restores a snapshot or a part of it, or works out what that would do.

use std::path::PathBuf;

use dr_vault::progress::{Phase, Progress};
use dr_vault::restore::{Existing, Options, Place, Plan, Report, Selection};
use dr_vault::{Manifest, Repository};

use crate::config::SourceKind;
use crate::error::{Class, Doing, Failure};
use crate::restore;
use crate::session::Session;

/// What to restore.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `latest`, an id, or the beginning of one.
    pub snapshot: String,
    /// Only these sources; all if none is named.
    pub sources: Vec<String>,
    /// Only this table of a database.
    pub table: Option<String>,
    /// Only what lies at these paths in a source.
    pub paths: Vec<String>,
    /// Where to.
    pub place: Place,
    /// What may happen to what stands at the target.
    pub existing: Existing,
    /// Fetch every byte, also of files that stand at the target and have the right hash.
    pub fetch_all: bool,
    /// Answer with the plan and do nothing.
    pub plan_only: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum Restored {
    /// What would be done.
    Planned(Plan),
    /// What was done, and what the snapshot says of itself.
    Done(Report, Box<Manifest>),
}

/// Plans and, unless only the plan is wanted, restores under the lock. `approve` sees the plan before anything is
/// written and may refuse it.
///
/// # Errors
/// When nothing was restored.
pub async fn run(
    session: &Session,
    ask: Ask,
    progress: &Progress,
    approve: impl FnOnce(&Plan) -> Result<(), Failure>,
) -> Result<Restored, Failure> {
    progress.enter(Phase::Preparing);
    let _lock = (!ask.plan_only).then(|| session.begin("restore")).transpose()?;
    let repository = session.repository().await?;
    let (plan, manifest) = session.until_stopped(plan(session, &repository, &ask)).await?;
    if let Some(what) = super::rolled_back(&repository).await {
        session.ui.warn(&what);
    }
    approve(&plan)?;
    if ask.plan_only {
        plan.check_space()?;
        return Ok(Restored::Planned(plan));
    }
    let spool = session.state()?.cache();
    let stop = session.stop.token();
    let report = restore::execute(&repository, &manifest, plan, &spool, progress, stop).await?;
    Ok(Restored::Done(report, Box::new(manifest)))
}

async fn plan(session: &Session, repository: &Repository, ask: &Ask) -> Result<(Plan, Manifest), Failure> {
    let chosen = async {
        let info = repository.resolve(&ask.snapshot).await?;
        repository.sync_index().await?;
        Ok::<_, dr_vault::Error>((repository.manifest(&info.id).await?, info.id))
    };
    let (manifest, id) = chosen
        .await
        .doing(|| format!("choose snapshot {}", ask.snapshot))?;
    let selection = selection(ask, &manifest)?;
    let options = Options {
        existing: ask.existing,
        keep_right_files: !ask.fetch_all,
        ..Options::default()
    };
    let (plan, swept) = restore::plan(repository, id, &manifest, selection, &ask.place, options).await?;
    if ask.place != Place::Original {
        refuse_own_folders(session, &plan)?;
    }
    for left in swept {
        session.ui.say(&format!(
            "Swept what a restore that was killed left at {}",
            left.staging.display()
        ));
    }
    Ok((plan, manifest))
}

/// What is restored elsewhere must not land in the live data, or among what this program keeps.
fn refuse_own_folders(session: &Session, plan: &Plan) -> Result<(), Failure> {
    let config = &session.config;
    let mut own = vec![(config.agent.state_dir.clone(), "the state folder")];
    let stored = config.repository.as_ref();
    let stored = stored.and_then(|repository| repository.url.strip_prefix("file://"));
    own.extend(stored.map(|folder| (PathBuf::from(folder), "the repository")));
    // A source that can not be found holds nothing.
    for source in session.sources(&[]).unwrap_or_default() {
        if source.kind == SourceKind::Lancedb {
            own.push((source.path, "a live database"));
        }
    }
    for (folder, what) in own {
        let Ok(folder) = folder.canonicalize() else {
            continue;
        };
        if let Some(placement) = plan.placements.iter().find(|p| p.target.starts_with(&folder)) {
            let target = placement.target.display();
            let why = format!("{target} lies within {}, which is {what}", folder.display());
            let hint = "choose a folder of its own; `--in-place` restores to where data came from";
            return Err(Failure::new(Class::Usage, why).hint(hint));
        }
    }
    Ok(())
}

fn selection(ask: &Ask, manifest: &Manifest) -> Result<Selection, Failure> {
    let selection = Selection {
        sources: ask.sources.clone(),
        paths: Vec::new(),
    };
    match &ask.table {
        Some(table) => Ok(restore::select_table(manifest, selection, table)?),
        None => Ok(ask
            .paths
            .iter()
            .fold(selection, |selection, path| selection.path(path))),
    }
}
