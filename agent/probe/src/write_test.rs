//! Writes to a scratch copy as an application would: append, optimise, clean up, read again.

use arrow_array::RecordBatch;
use dr_probe_wire::measure::WriteTest;
use futures::TryStreamExt;
use lancedb::Table;
use lancedb::query::{ExecutableQuery, QueryBase};
use lancedb::table::OptimizeAction;
use tokio::time::Instant;

/// Rows that are appended: copies of the first ones.
const ROWS: usize = 5;

/// What an index of the table's age allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indices {
    /// Optimise them too.
    Optimise,
    /// Leave them: this LanceDB reads their format and does not write it.
    Leave,
}

/// Does it all. The caller has made sure that this is a copy.
pub async fn run(table: &Table, indices: Indices) -> Result<WriteTest, lancedb::Error> {
    let start = Instant::now();
    let before = count(table).await?;
    let sample = table
        .query()
        .limit(ROWS)
        .execute()
        .await?
        .try_collect::<Vec<RecordBatch>>()
        .await?;
    let appended: u64 = sample.iter().map(|batch| batch.num_rows() as u64).sum();
    if appended > 0 {
        table.add(sample).execute().await?;
    }
    let after = count(table).await?;
    if indices == Indices::Optimise {
        table.optimize(OptimizeAction::All).await?;
    }
    let prune = OptimizeAction::Prune {
        older_than: Some(lancedb::table::Duration::zero()),
        delete_unverified: Some(true),
        error_if_tagged_old_versions: Some(false),
    };
    table.optimize(prune).await?;
    let rows_after_cleanup = count(table).await?;
    Ok(WriteTest {
        appended,
        rows: (before, after),
        rows_after_cleanup,
        version: table.version().await?,
        millis: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Counts by reading a column: the manifest's own count would not notice that a file is gone.
async fn count(table: &Table) -> Result<u64, lancedb::Error> {
    let schema = table.schema().await?;
    let Some(field) = schema.fields().first() else {
        return Ok(0);
    };
    let select = lancedb::query::Select::columns(&[field.name().as_str()]);
    let mut rows = table.query().select(select).execute().await?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows() as u64;
    }
    Ok(count)
}
