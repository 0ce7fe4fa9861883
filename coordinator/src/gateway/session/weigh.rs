//! What a result is worth, before it is filed.
//!
//! An agent answers for the snapshot that it rehearsed. Whether that snapshot holds everything that the host protects
//! only the host's inventory tells: a cut of one source alone, or a source that is gone, must not make a drill of the
//! whole host pass.

use dr_proto::model::{HostName, Report, TaskResult, TaskState, Work};
use dr_store::Store;

/// The snapshot that stands for the host as it is now; one that is named by its id stands for itself.
const LATEST: &str = "latest";
/// The cause of drills that rehearsed a snapshot without some of the host's sources.
pub(super) const SOURCE_MISSING: &str = "source_not_in_snapshot";

/// The result as it counts: a drill that passed without a source that its host protects is inconclusive.
pub(super) async fn weigh(
    store: &Store,
    agent: &HostName,
    mut result: TaskResult,
) -> dr_store::Result<TaskResult> {
    let Work::Drill(drill) = &result.work else {
        return Ok(result);
    };
    if result.outcome.state != TaskState::Passed || drill.snapshot != LATEST {
        return Ok(result);
    }
    // The store says in the task's events when a report can not be read.
    let Ok(report) = serde_json::from_slice::<Report>(&result.outcome.document) else {
        return Ok(result);
    };
    let host = result.work.from_host().unwrap_or(agent);
    let wanted = |kind: &str| drill.only.is_none_or(|only| only.as_str() == kind);
    let missing: Vec<String> = store
        .inventories()
        .sources(Some(host))
        .await?
        .into_iter()
        .map(|record| record.source)
        .filter(|source| source.configured && wanted(&source.kind))
        .filter(|source| report.sources.iter().all(|told| told.name != source.name))
        .map(|source| source.name)
        .collect();
    if missing.is_empty() {
        return Ok(result);
    }
    let snapshot = report
        .snapshot
        .map_or_else(String::new, |snapshot| format!(" {}", snapshot.id));
    result.outcome.state = TaskState::Inconclusive;
    SOURCE_MISSING.clone_into(&mut result.outcome.cause);
    result.outcome.message = format!(
        "the newest snapshot{snapshot} holds nothing of {}: what it holds has passed, the host has not; \
         `drctl snapshot create --host {host}` takes one of all sources",
        missing.join(", ")
    );
    Ok(result)
}
