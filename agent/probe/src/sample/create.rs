//! Writes the sample as an application would have left it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use lancedb::index::Index;
use lancedb::index::scalar::{BTreeIndexBuilder, BitmapIndexBuilder, FtsIndexBuilder};
use lancedb::index::vector::IvfPqIndexBuilder;
use lancedb::table::OptimizeAction;
use lancedb::{Connection, DistanceType, Table};

use super::audit::AuditLog;
use super::rows::Rows;
use super::{DATABASE, LOGS};

/// Writes database and log below a folder that holds neither.
pub(super) async fn create(folder: &Path, rows: u64, seed: u64) -> Result<()> {
    let (database, logs) = (folder.join(DATABASE), folder.join(LOGS));
    for path in [&database, &logs] {
        if path.exists() {
            bail!(
                "{} exists already: name another folder, or remove it",
                path.display()
            );
        }
    }
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let count = i64::try_from(rows).context("count rows")?;
    let source = Rows::new(seed);
    write_log(&logs, &source, count)?;
    let uri = database.to_string_lossy().into_owned();
    let connection = lancedb::connect(&uri)
        .execute()
        .await
        .context("connect to the new database")?;
    memory(&connection, &source, count)
        .await
        .context("write the table `memory`")?;
    context(&connection, &source, count)
        .await
        .context("write the table `context`")?;
    tool_calls(&connection, &source, count)
        .await
        .context("write the table `tool_calls`")
}

/// Two rotations behind it, like a log that is some days old.
fn write_log(logs: &Path, source: &Rows, rows: i64) -> Result<()> {
    let mut log = AuditLog::open(logs)?;
    let lines = rows * 2;
    for line in 0..lines {
        if line == lines * 2 / 3 || line == lines * 5 / 6 {
            log.rotate()?;
        }
        let event = ["action", "tool_invocation", "decision"][usize::try_from(line % 3).unwrap_or_default()];
        log.append(&format!("agent-{}", line % 40), event, &source.deed(line))?;
    }
    Ok(())
}

async fn memory(connection: &Connection, source: &Rows, rows: i64) -> Result<Table> {
    let step = rows / 6;
    let table = connection
        .create_table("memory", source.memory(0..step)?)
        .execute()
        .await?;
    for part in 1..4 {
        table
            .add(source.memory(part * step..(part + 1) * step)?)
            .execute()
            .await?;
    }
    let vectors = IvfPqIndexBuilder::default()
        .distance_type(DistanceType::Cosine)
        .num_partitions(8)
        .num_sub_vectors(12)
        .max_iterations(4);
    table
        .create_index(&["vector"], Index::IvfPq(vectors))
        .execute()
        .await
        .context("build the vector index")?;
    table
        .create_index(&["text"], Index::FTS(FtsIndexBuilder::default()))
        .execute()
        .await
        .context("build the full-text index")?;
    table
        .create_index(&["importance"], Index::BTree(BTreeIndexBuilder::default()))
        .execute()
        .await
        .context("build the scalar index")?;
    table.delete("id % 23 = 5").await?;
    table
        .update()
        .only_if("id % 31 = 3")
        .column("agent", "'agent-x'")
        .execute()
        .await?;
    table.optimize(OptimizeAction::All).await.context("optimise")?;
    // What came after the last optimisation is in no index yet.
    for part in 4..6 {
        table
            .add(source.memory(part * step..(part + 1) * step)?)
            .execute()
            .await?;
    }
    table.delete("archived and id > 100 and id < 400").await?;
    Ok(table)
}

async fn context(connection: &Connection, source: &Rows, rows: i64) -> Result<()> {
    let table = connection
        .create_table("context", source.context(0..rows / 2)?)
        .execute()
        .await?;
    table.add(source.context(rows / 2..rows)?).execute().await?;
    table.delete("turn = 3").await?;
    Ok(())
}

async fn tool_calls(connection: &Connection, source: &Rows, rows: i64) -> Result<()> {
    let table = connection
        .create_table("tool_calls", source.tool_calls(0..rows)?)
        .execute()
        .await?;
    let index = Index::Bitmap(BitmapIndexBuilder::default());
    table
        .create_index(&["host"], index)
        .execute()
        .await
        .context("build the scalar index")?;
    table.delete("not ok").await?;
    Ok(())
}
