//! Goes on writing: the busy application beside which a snapshot is taken.
//!
//! One round adds rows to every table and lines to the log, and by turns updates, deletes, compacts and removes
//! everything older: what breaks a naive copy. The database keeps its size, for the oldest rows go as new ones come.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::TryStreamExt;
use lancedb::Table;
use lancedb::query::{ExecutableQuery, QueryBase, Select};
use lancedb::table::OptimizeAction;
use serde_json::json;

use super::audit::AuditLog;
use super::rows::Rows;
use super::{DATABASE, LOGS};

/// Rows that a round adds to `memory`.
const ROWS: i64 = 25;
/// Lines after which the log is rotated.
const SEGMENT: u64 = 400;
/// Rounds between two compactions.
const COMPACT_EVERY: u64 = 6;

/// How fast, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Pause between rounds.
    pub(super) pause: Duration,
    /// The number of rounds; unset: until standard input ends.
    pub(super) rounds: Option<u64>,
}

/// Writes until it is told to stop.
pub(super) async fn write(folder: &Path, seed: u64, pace: Pace) -> Result<()> {
    let mut writer = Writer::open(folder, seed).await?;
    let end = tokio::task::spawn_blocking(|| {
        let mut rest = [0u8; 512];
        let mut stdin = std::io::stdin();
        while matches!(stdin.read(&mut rest), Ok(read) if read > 0) {}
    });
    let rounds = async {
        for round in 0.. {
            if pace.rounds.is_some_and(|most| round >= most) {
                return Ok(());
            }
            writer.round(round).await?;
            tokio::time::sleep(pace.pause).await;
        }
        Ok(())
    };
    // With a number of rounds, standard input may be anything; it is often none at all.
    if pace.rounds.is_some() {
        return rounds.await;
    }
    tokio::select! {
        written = rounds => written,
        ended = end => ended.context("wait for the end of standard input"),
    }
}

struct Writer {
    rows: Rows,
    memory: Table,
    context: Table,
    tool_calls: Table,
    log: AuditLog,
    next: i64,
}

impl Writer {
    async fn open(folder: &Path, seed: u64) -> Result<Self> {
        let uri = folder.join(DATABASE).to_string_lossy().into_owned();
        let connection = lancedb::connect(&uri)
            .execute()
            .await
            .context("connect to the database")?;
        let open = async |name: &str| {
            connection
                .open_table(name)
                .execute()
                .await
                .with_context(|| format!("open the table `{name}`"))
        };
        let memory = open("memory").await?;
        let next = largest_id(&memory).await? + 1;
        Ok(Self {
            rows: Rows::new(seed),
            context: open("context").await?,
            tool_calls: open("tool_calls").await?,
            memory,
            log: AuditLog::open(&folder.join(LOGS))?,
            next,
        })
    }

    async fn round(&mut self, round: u64) -> Result<()> {
        let ids = self.next..self.next + ROWS;
        self.memory
            .add(self.rows.memory(ids.clone())?)
            .execute()
            .await
            .context("add to `memory`")?;
        self.next = ids.end;
        self.acknowledge(
            "add",
            &self.memory.clone(),
            json!({"from": ids.start, "to": ids.end}),
        )
        .await?;
        self.tool_calls
            .add(self.rows.tool_calls(ids.clone())?)
            .execute()
            .await
            .context("add to `tool_calls`")?;
        match round % COMPACT_EVERY {
            0 => {
                self.context
                    .add(self.rows.context(ids.clone())?)
                    .execute()
                    .await
                    .context("add to `context`")?;
                self.acknowledge(
                    "add",
                    &self.context.clone(),
                    json!({"from": ids.start, "to": ids.end}),
                )
                .await?;
            }
            1 => self.update(ids.start).await?,
            2 | 4 => self.forget().await?,
            5 => self.tidy().await?,
            _ => {}
        }
        self.record(round, &ids)
    }

    async fn update(&mut self, below: i64) -> Result<()> {
        let (remainder, table) = (below % 97, self.memory.clone());
        let wanted = format!("id % 97 = {remainder} and id < {below}");
        let updated = table
            .update()
            .only_if(&wanted)
            .column("agent", "'agent-y'")
            .execute()
            .await;
        updated.context("update `memory`")?;
        self.acknowledge("update", &table, json!({"where": wanted})).await
    }

    /// Removes as many of the oldest rows as came since the last time.
    async fn forget(&mut self) -> Result<()> {
        let table = self.memory.clone();
        let oldest = smallest_id(&table).await?;
        let wanted = format!("id < {}", oldest + ROWS * 3);
        table
            .delete(wanted.as_str())
            .await
            .context("delete from `memory`")?;
        self.acknowledge("delete", &table, json!({"where": wanted})).await
    }

    /// Compacts, indexes what is new, and removes every older version with its files.
    async fn tidy(&mut self) -> Result<()> {
        for table in [self.memory.clone(), self.context.clone(), self.tool_calls.clone()] {
            table.optimize(OptimizeAction::All).await.context("optimise")?;
            let prune = OptimizeAction::Prune {
                older_than: Some(chrono::Duration::zero()),
                delete_unverified: Some(true),
                error_if_tagged_old_versions: Some(false),
            };
            table.optimize(prune).await.context("clean up")?;
            self.acknowledge("optimize", &table, json!({})).await?;
        }
        Ok(())
    }

    /// Writes what was done to the log, as applications do that must account for it.
    fn record(&mut self, round: u64, ids: &std::ops::Range<i64>) -> Result<()> {
        for id in ids.clone() {
            let event = if id % 3 == 0 { "tool_invocation" } else { "action" };
            let deed = self.rows.deed(id);
            let (sequence, hash) = self.log.append(&format!("agent-{}", id % 40), event, &deed)?;
            if id + 1 == ids.end {
                say(&json!({"op": "log", "round": round, "seq": sequence, "hash": hash}))?;
            }
        }
        if self.log.lines() >= SEGMENT {
            self.log.rotate()?;
            say(&json!({"op": "rotate", "round": round}))?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, op: &str, table: &Table, detail: serde_json::Value) -> Result<()> {
        let (version, rows) = (table.version().await?, table.count_rows(None).await?);
        say(&json!({"op": op, "table": table.name(), "version": version, "rows": rows, "detail": detail}))
    }
}

fn say(line: &serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("acknowledge on standard output")
}

async fn ids(table: &Table) -> Result<Vec<i64>> {
    let query = table.query().select(Select::columns(&["id"]));
    let batches: Vec<RecordBatch> = query.execute().await?.try_collect().await?;
    let of = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    Ok(batches.iter().flat_map(of).collect())
}

async fn largest_id(table: &Table) -> Result<i64> {
    Ok(ids(table)
        .await
        .context("read ids")?
        .into_iter()
        .max()
        .unwrap_or_default())
}

async fn smallest_id(table: &Table) -> Result<i64> {
    Ok(ids(table)
        .await
        .context("read ids")?
        .into_iter()
        .min()
        .unwrap_or_default())
}
