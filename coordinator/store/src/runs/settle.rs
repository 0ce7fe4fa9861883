//! The end of a run, derived from its tasks.

use dr_proto::model::{RunId, RunState, TaskState};

use super::Runs;
use super::record::{RunRecord, read};
use crate::column::micros;
use crate::error::{During as _, Error, Result};
use crate::failpoint;
use crate::store::Change;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The run, as it stands now.
    pub run: RunRecord,
}

impl Runs<'_> {
    /// Ends the run if all its tasks have ended. `None` if it has ended before, or has not come to its end.
    pub async fn settle(&self, id: RunId) -> Result<Option<Settled>> {
        let now = self.0.now();
        let mut tx = self.0.begin().await?;
        let run = read(&mut tx, id).await?.ok_or_else(|| Error::NotFound {
            kind: "run",
            name: id.to_string(),
        })?;
        if !matches!(run.state, RunState::Running | RunState::Cancelling) {
            return Ok(None);
        }
        let Some((end, why)) = judge(&run) else {
            return Ok(None);
        };
        run.state.step(end).map_err(|source| Error::Step {
            kind: "run",
            id: id.to_string(),
            source,
        })?;
        sqlx::query(
            "UPDATE runs SET state = ?2, finished = ?3, explanation = ?4 WHERE id = ?1 AND state = ?5",
        )
        .bind(id.to_string())
        .bind(end.name())
        .bind(micros(now))
        .bind(why)
        .bind(run.state.name())
        .execute(&mut *tx)
        .await
        .during("end a run")?;
        failpoint::reach("store.settle");
        let run = read(&mut tx, id).await?.ok_or_else(|| Error::NotFound {
            kind: "run",
            name: id.to_string(),
        })?;
        tx.commit().await.during("commit a run's end")?;
        self.0.tell(Change::Run(id));
        Ok(Some(Settled { run }))
    }
}

/// The end of a run by its tasks, and why. All tasks passed is not enough if hosts that should have taken part did not:
/// all of them, unless the plan says how many suffice.
fn judge(run: &RunRecord) -> Option<(RunState, String)> {
    let states = run
        .tasks
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, _)| *state);
    let end = RunState::settle(states)?;
    let passed = run.tasks.get(&TaskState::Passed).copied().unwrap_or(0);
    let tasks: u32 = run.tasks.values().sum();
    let targets = run.rollout.targets.max(tasks);
    let wanted = run.rollout.coverage.unwrap_or(1.0);
    if end == RunState::Passed && f64::from(passed) < wanted * f64::from(targets) {
        let why = format!(
            "{passed} of {targets} hosts passed, {:.0} % were wanted{}",
            wanted * 100.0,
            missed(run)
        );
        return Some((RunState::Inconclusive, why));
    }
    Some(match end {
        RunState::Passed if passed < targets => {
            (end, format!("{passed} of {targets} hosts passed{}", missed(run)))
        }
        RunState::Passed => (end, String::new()),
        _ if !run.explanation.is_empty() => (end, run.explanation.clone()),
        _ => (
            end,
            format!(
                "{passed} of {targets} hosts passed: {}{}",
                tally(run),
                missed(run)
            ),
        ),
    })
}

/// `; left out: db-1, suspended until …; and 2 more`: hosts that should have taken part and did not.
fn missed(run: &RunRecord) -> String {
    let mut missed = run.excluded.iter().filter(|excluded| !excluded.by_plan);
    let Some(first) = missed.next() else {
        return String::new();
    };
    let more = match missed.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("; left out: {}, {}{more}", first.host, first.reason)
}

/// `2 failed, 1 lost`.
fn tally(run: &RunRecord) -> String {
    let parts: Vec<String> = run
        .tasks
        .iter()
        .filter(|(state, count)| **state != TaskState::Passed && **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    parts.join(", ")
}
