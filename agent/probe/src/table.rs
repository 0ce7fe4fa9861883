//! Measures one table, step by step. A step that fails or panics is a fault of the table, and the next one goes on.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use dr_probe_wire::fault::{Fault, FaultKind, Step};
use dr_probe_wire::job::{Job, Queries};
use dr_probe_wire::measure::{Column, Index, TableMeasure};
use dr_probe_wire::query::{Answer, Golden, Query};
use futures::{FutureExt, TryStreamExt};
use lance::Dataset;
use lance::index::DatasetIndexExt;
use lance_table::format::IndexMetadata;
use lance_table::io::manifest::read_manifest_indexes;
use tokio::time::Instant;

use crate::classify;
use crate::database::{Database, Opened, name_of};
use crate::exact;
use crate::golden::{self, Known};
use crate::report::Reporter;
use crate::scan;
use crate::write_test::{self, Indices};

/// One table of a job.
pub struct Task<'a> {
    /// The job.
    pub job: &'a Job,
    /// The database.
    pub database: &'a Database,
    /// The table's folder.
    pub path: &'a str,
    /// Where to tell.
    pub reporter: &'a Arc<Reporter>,
}

impl Task<'_> {
    /// Does one step; an error or a panic becomes a fault.
    async fn step<T, E: std::error::Error + 'static>(
        &self,
        step: Step,
        subject: Option<&str>,
        faults: &mut Vec<Fault>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        self.reporter.enter(self.path, step);
        let done = AssertUnwindSafe(work).catch_unwind().await;
        let panics = self.reporter.take_panics();
        match done {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => {
                faults.push(classify::fault(
                    step,
                    subject,
                    &error,
                    &self.database.memo(),
                    &panics,
                ));
            }
            Err(_) => faults.push(classify::panicked(step, subject, &panics)),
        }
        None
    }
}

/// Measures the table.
pub async fn measure(task: &Task<'_>) -> TableMeasure {
    let start = Instant::now();
    let mut table = TableMeasure {
        path: task.path.to_owned(),
        name: name_of(task.path),
        ..TableMeasure::default()
    };
    let mut faults = Vec::new();
    if let Some(opened) = task
        .step(Step::Open, None, &mut faults, task.database.open(task.path))
        .await
    {
        figures(task, &opened, &mut table, &mut faults).await;
        table.usable_millis = millis(start);
        if task.job.validate {
            let validated = task
                .step(Step::Validate, None, &mut faults, opened.dataset.validate())
                .await;
            table.validated = validated.is_some();
        }
        let known = indices(task, &opened.dataset, &mut table, &mut faults).await;
        content(task, &opened.dataset, &known, &mut table, &mut faults).await;
        if task.job.write_test && task.database.is_folder() {
            writes(task, &opened, &mut table, &mut faults).await;
        }
        if let Some(base) = base_outside(task, &opened.dataset) {
            faults = faults
                .into_iter()
                .map(|fault| classify::outside(fault, &base))
                .collect();
        }
    }
    table.faults = faults;
    table.millis = millis(start);
    table
}

/// Another root that files of the table lie under, not in the folder that the database is read from.
fn base_outside(task: &Task<'_>, dataset: &Dataset) -> Option<String> {
    let folder = task.database.folder()?;
    let is_outside = |base: &&String| {
        let path = base.strip_prefix("file://").unwrap_or(base);
        !Path::new(path).starts_with(folder)
    };
    let mut bases = dataset.manifest().base_paths.values().map(|base| &base.path);
    bases.find(is_outside).cloned()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Version, rows, columns; and the first row, for a table is usable when rows can be read.
async fn figures(task: &Task<'_>, opened: &Opened, table: &mut TableMeasure, faults: &mut Vec<Fault>) {
    let dataset = &opened.dataset;
    table.branch = opened.branch.clone();
    table.version = Some(dataset.manifest().version);
    table.fragments = dataset.fragments().len() as u64;
    let column = |field: &lance_core::datatypes::Field| {
        let kind = field.data_type();
        Column {
            name: field.name.clone(),
            kind: kind.to_string(),
            dimensions: exact::dimensions(&kind),
        }
    };
    table.columns = dataset.schema().fields.iter().map(column).collect();
    let rows = task
        .step(Step::Open, None, faults, dataset.count_rows(None))
        .await;
    table.rows = rows.map(|rows| rows as u64);
    let first = async {
        let mut scanner = dataset.scan();
        scanner.limit(Some(1), None)?;
        scanner.try_into_stream().await?.try_next().await
    };
    task.step(Step::Open, None, faults, first).await;
}

/// Indices: what they are, and every file of them read into memory.
async fn indices(
    task: &Task<'_>,
    dataset: &Dataset,
    table: &mut TableMeasure,
    faults: &mut Vec<Fault>,
) -> Vec<Known> {
    let listed = async {
        let store = dataset.object_store(None).await?;
        let raw = read_manifest_indexes(&store, dataset.manifest_location(), dataset.manifest()).await?;
        Ok::<_, lance::Error>((raw, dataset.load_indices().await?))
    };
    let Some((raw, loaded)) = task.step(Step::Prewarm, None, faults, listed).await else {
        return Vec::new();
    };
    for hidden in raw
        .iter()
        .filter(|index| loaded.iter().all(|other| other.uuid != index.uuid))
    {
        faults.push(Fault {
            kind: FaultKind::TooNew,
            step: Step::Prewarm,
            subject: Some(hidden.name.clone()),
            file: None,
            message: format!(
                "index version {} is newer than this Lance reads",
                hidden.index_version
            ),
        });
    }
    let mut known: Vec<Known> = Vec::new();
    for index in loaded.iter().filter(|index| !index.name.starts_with("__")) {
        if known.iter().any(|other| other.index.name == index.name) {
            continue;
        }
        let parts = || loaded.iter().filter(|other| other.name == index.name);
        let column = |id: &i32| dataset.schema().field_path(*id).ok();
        let mut found = Index {
            name: index.name.clone(),
            kind: "unknown".to_owned(),
            columns: index.fields.iter().filter_map(column).collect(),
            uuids: parts().map(|part| part.uuid.to_string()).collect(),
            prewarmed: None,
        };
        let subject = Some(index.name.as_str());
        let statistics = task
            .step(
                Step::Prewarm,
                subject,
                faults,
                dataset.index_statistics(&index.name),
            )
            .await;
        let (kind, metric) = golden::kind_of(statistics.as_deref().unwrap_or_default());
        found.kind = kind;
        if parts().any(awaits_rows) {
            let note = format!(
                "index {} waits for rows to train on and has no files yet",
                index.name
            );
            table.notes.push(note);
        } else if task.job.prewarm {
            found.prewarmed = prewarm(task, dataset, &index.name, table, faults).await;
        }
        table.indices.push(found.clone());
        known.push(Known { index: found, metric });
    }
    known
}

/// Whether a part of an index is but its definition: made while the table had too few rows to train on. There is
/// nothing of it to read, and opening it is an error that says nothing of the data.
fn awaits_rows(part: &IndexMetadata) -> bool {
    let covers_nothing = part
        .fragment_bitmap
        .as_ref()
        .is_some_and(|covered| covered.is_empty());
    covers_nothing && part.files.as_ref().is_none_or(Vec::is_empty)
}

async fn prewarm(
    task: &Task<'_>,
    dataset: &Dataset,
    name: &str,
    table: &mut TableMeasure,
    faults: &mut Vec<Fault>,
) -> Option<bool> {
    let before = faults.len();
    let done = task
        .step(Step::Prewarm, Some(name), faults, dataset.prewarm_index(name))
        .await;
    let unsupported =
        |fault: &Fault| fault.message.starts_with("Not supported") && fault.kind != FaultKind::TooNew;
    if let Some(fault) = faults.get(before).filter(|fault| unsupported(fault)) {
        table
            .notes
            .push(format!("index {name} can not be read ahead: {}", fault.message));
        faults.truncate(before);
        return None;
    }
    Some(done.is_some())
}

/// Golden queries and the full scan, which finds the exact answers to them.
async fn content(
    task: &Task<'_>,
    dataset: &Arc<Dataset>,
    known: &[Known],
    table: &mut TableMeasure,
    faults: &mut Vec<Fault>,
) {
    let queries = match &task.job.queries {
        None => Vec::new(),
        Some(Queries::Choose { seed, count, k }) => {
            let choice = golden::Choice {
                seed: *seed,
                count: *count,
                k: *k,
                path: task.path,
            };
            let chosen = golden::choose(dataset, known, &choice, &mut table.notes);
            task.step(Step::Query, None, faults, chosen)
                .await
                .unwrap_or_default()
        }
        Some(Queries::Replay(tables)) => {
            let mine = tables.iter().find(|queries| queries.path == task.path);
            mine.map(|queries| queries.queries.clone()).unwrap_or_default()
        }
    };
    let chosen = matches!(task.job.queries, Some(Queries::Choose { .. }));
    for query in queries {
        let asked = golden::ask(dataset, &query);
        if let Some(answer) = task.step(Step::Query, Some(query.column()), faults, asked).await
            && !(chosen && golden::is_empty(&answer))
        {
            table.golden.push(Golden { query, answer });
        }
    }
    let Some(job) = &task.job.content else { return };
    let known = job.known.iter().find(|known| known.path == task.path);
    let searches = table.golden.iter().filter_map(search).collect();
    let request = scan::Request {
        key: job.key,
        known: known.map(|known| known.fragments.as_slice()).unwrap_or_default(),
        undeleted: job.undeleted,
        searches,
        threads: task.job.limits.threads.max(1) as usize,
        memory: task.job.limits.memory,
    };
    task.reporter.enter(task.path, Step::Scan);
    let scanned = scan::scan(dataset, request, task.reporter, &mut table.notes);
    let Some(scanned) = task.step(Step::Scan, None, faults, scanned).await else {
        return;
    };
    faults.extend(scanned.broken.into_iter().map(|message| Fault {
        kind: FaultKind::Contradiction,
        step: Step::Scan,
        subject: None,
        file: None,
        message,
    }));
    let mut exact = scanned.nearest.into_iter();
    for golden in &mut table.golden {
        if let Answer::Nearest { exact: answer, .. } = &mut golden.answer {
            *answer = exact.next();
        }
    }
    if let Some(rows) = table.rows.filter(|rows| *rows != scanned.content.digest.rows) {
        let message = format!(
            "{} rows were scanned, the manifest promises {rows}",
            scanned.content.digest.rows
        );
        let kind = FaultKind::Contradiction;
        faults.push(Fault {
            kind,
            step: Step::Scan,
            subject: None,
            file: None,
            message,
        });
    }
    table.content = Some(scanned.content);
}

fn search(golden: &Golden) -> Option<exact::Nearest> {
    match &golden.query {
        Query::Nearest {
            column,
            vector,
            metric,
            k,
            ..
        } => Some(exact::Nearest::new(column, &vector.0, *metric, *k)),
        _ => None,
    }
}

async fn writes(task: &Task<'_>, opened: &Opened, table: &mut TableMeasure, faults: &mut Vec<Fault>) {
    let Some(handle) = &opened.table else {
        let what = if opened.branch.is_some() {
            "a branch"
        } else {
            "a table of a namespace"
        };
        table.notes.push(format!(
            "write test: LanceDB opens {what} only with the application's configuration"
        ));
        return;
    };
    let before = faults.len();
    let whole = write_test::run(handle, Indices::Optimise);
    table.write_test = task.step(Step::WriteTest, None, faults, whole).await;
    // Lance reads indices of old formats and panics when it is to write them.
    let too_old = |fault: &Fault| fault.message.contains("not implemented: only for v2");
    if faults.get(before).is_some_and(too_old) {
        faults.truncate(before);
        let note = "write test: its vector index has a format that LanceDB reads and no longer optimises; \
                    append and cleanup were tested, an application has to build that index again";
        table.notes.push(note.to_owned());
        let without = write_test::run(handle, Indices::Leave);
        table.write_test = task.step(Step::WriteTest, None, faults, without).await;
    }
}
