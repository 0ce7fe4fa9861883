//! Staging directories that are open, each with its journal: made, taken over, kept for later or removed.

use std::path::PathBuf;

use super::Error;
use super::commit::Swap;
use super::journal::{Journal, Line, Origin, State};
use super::plan::{Placement, Plan};
use super::site::Site;
use super::sweep::sweep_one;
use super::target::displaced_path;
use crate::{RepositoryId, failpoint};

/// Staging directories that are open. Dropped, they stay, and nothing is written to them any more.
#[derive(Debug, Default)]
pub(super) struct Sites {
    pub(super) list: Vec<Open>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) source: String,
    pub(super) site: Site,
    pub(super) swap: Swap,
}

impl Sites {
    /// Takes over what an interrupted run of the same restore has left, or makes a new directory.
    pub(super) fn open(
        &mut self,
        placement: &Placement,
        plan: &Plan,
        repository: RepositoryId,
    ) -> Result<(), Error> {
        for staging in &placement.discards {
            let journal = Journal::path_for(staging);
            sweep_one(&journal).map_err(Error::local("remove what another restore left at", staging))?;
        }
        let line = Line {
            origin: origin(plan, repository, &placement.source),
            target: placement.target.clone(),
            staging: placement.staging.clone(),
            displaced: displaced_path(&placement.target, &placement.staging),
            method: placement.method,
            state: State::Writing,
        };
        let taken = match placement.resumes {
            Some(_) => take_over(&line)?,
            None => None,
        };
        let (journal, site) = match taken {
            Some(taken) => taken,
            None => create(&line)?,
        };
        let swap = Swap {
            line,
            journal,
            units: Vec::new(),
        };
        self.list.push(Open {
            source: placement.source.clone(),
            site,
            swap,
        });
        Ok(())
    }

    /// Ends after `error`: what another run can go on from stays and is named in the error, all else is removed.
    pub(super) async fn end(mut self, error: Error) -> Error {
        let list = std::mem::take(&mut self.list);
        if list.is_empty() {
            return error;
        }
        let keep = error.is_resumable();
        let ended = tokio::task::spawn_blocking(move || {
            let paths: Vec<PathBuf> = list.iter().map(|open| open.site.path().to_owned()).collect();
            if keep {
                list.iter().for_each(|open| open.site.close());
            } else {
                list.into_iter().for_each(Open::remove);
            }
            paths
        });
        match ended.await {
            Ok(staging) if keep => Error::Interrupted {
                staging,
                source: Box::new(error),
            },
            Ok(_) => error,
            Err(stopped) => {
                tracing::warn!(error = %stopped, "a staging directory was not closed; the next restore to the same place does");
                error
            }
        }
    }

    /// Removes what has been written; what can not be removed is left to the sweep.
    pub(super) async fn remove(mut self) {
        let list = std::mem::take(&mut self.list);
        let removed = tokio::task::spawn_blocking(move || list.into_iter().for_each(Open::remove)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "a staging directory was not removed; the next restore to the same place does");
        }
    }
}

impl Drop for Sites {
    /// The journals' locks go with this: nobody may write after that.
    fn drop(&mut self) {
        self.list.iter().for_each(|open| open.site.close());
    }
}

impl Open {
    pub(super) fn remove(self) {
        self.site.close();
        let removed = std::fs::remove_dir_all(self.site.path()).and_then(|()| self.swap.journal.remove());
        if let Err(error) = removed {
            tracing::warn!(path = %self.site.path().display(), %error, "a staging directory was not removed; the next restore to the same place does");
        }
    }
}

/// What tells one restore of a source from another.
pub(super) fn origin(plan: &Plan, repository: RepositoryId, source: &str) -> Origin {
    Origin {
        repository,
        snapshot: plan.snapshot,
        source: source.to_owned(),
        paths: plan.selection.paths.clone(),
    }
}

/// Journal first, directory second: no directory without a journal that tells whose it is.
fn create(line: &Line) -> Result<(Journal, Site), Error> {
    let staging = &line.staging;
    if let Some(parent) = staging.parent() {
        std::fs::create_dir_all(parent).map_err(Error::local("create", parent))?;
    }
    let journal = Journal::create(line).map_err(Error::local("write the journal of", staging))?;
    failpoint::reach("restore.journal.written");
    match Site::create(staging) {
        Ok(site) => Ok((journal, site)),
        Err(error) => {
            journal
                .remove()
                .map_err(Error::local("remove the journal of", staging))?;
            Err(Error::local("create", staging)(error))
        }
    }
}

/// The staging directory that the plan found; `None` if it has been swept since.
fn take_over(line: &Line) -> Result<Option<(Journal, Site)>, Error> {
    let staging = &line.staging;
    let path = Journal::path_for(staging);
    let failed = |error| Error::local("take over", staging)(error);
    let Some((mut journal, found)) = Journal::take_over(&path).map_err(failed)? else {
        return if path.exists() {
            Err(Error::Busy {
                target: line.target.clone(),
                staging: staging.clone(),
            })
        } else {
            Ok(None)
        };
    };
    let same = found.is_some_and(|found| found.origin == line.origin && found.state == State::Writing);
    if !same || !staging.is_dir() {
        let reason = format!(
            "{} is no longer what it was when the restore was planned; plan it again",
            staging.display()
        );
        return Err(Error::Target {
            target: line.target.clone(),
            reason,
        });
    }
    let site = Site::resume(staging).map_err(failed)?;
    // The way to swap in may be another by now.
    journal
        .append(line)
        .map_err(Error::local("write the journal of", staging))?;
    Ok(Some((journal, site)))
}
