//! Reads every row once: digests and exact nearest rows in one pass.
//!
//! # Overview
//! Rows come in any order and in batches bounded by bytes; Lance's row address says to which fragment a row
//! belongs. Fragments whose digest is known are not hashed again; only their vectors are read, for the searches. Of
//! those that were known and lost rows since, the lost rows are read and subtracted.

mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use dr_probe_wire::job::RowKey;
use dr_probe_wire::measure::{Content, FragmentDigest};
use dr_probe_wire::query::Hit;
use futures::StreamExt;
use lance::Dataset;
use lance_core::datatypes::BlobHandling;
use lance_table::format::Fragment;

use crate::canonical::{self, Unsupported};
use crate::conserved::Conserved;
use crate::deleted::Deleted;
use crate::digest::{ByFragment, RowHasher};
use crate::exact::{self, Nearest};
use crate::fragments::Known;
use crate::report::Reporter;

use table::Table;

/// Name of Lance's column of row ids.
pub const ROW_ID: &str = "_rowid";
/// The most bytes that a batch aims for.
const BATCH_BYTES: u64 = 4 << 20;

/// What to read.
pub struct Request<'a> {
    /// Key of the row hashes.
    pub key: RowKey,
    /// Digests that need not be computed.
    pub known: &'a [FragmentDigest],
    /// Whether fragments with deleted rows are also measured with these rows.
    pub undeleted: bool,
    /// Searches to answer on the way.
    pub searches: Vec<Nearest>,
    /// Batches hashed at a time.
    pub threads: usize,
    /// Memory that the process may hold.
    pub memory: u64,
}

/// What was found.
pub struct Scanned {
    /// Digests.
    pub content: Content,
    /// Answers to the searches, in their order.
    pub nearest: Vec<Vec<Hit>>,
    /// What commits since the measurement before did to rows that they only should have moved.
    pub broken: Vec<String>,
}

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Lance did not read on.
    #[error(transparent)]
    Read(#[from] lance::Error),
    /// A value has no canonical form.
    #[error(transparent)]
    Form(#[from] Unsupported),
    /// Hashing panicked.
    #[error("hash a batch")]
    Hash(#[source] tokio::task::JoinError),
}

/// Reads the whole table, as far as it is not known.
pub async fn scan(
    dataset: &Arc<Dataset>,
    request: Request<'_>,
    reporter: &Arc<Reporter>,
    notes: &mut Vec<String>,
) -> Result<Scanned, Error> {
    let columns = columns(dataset, notes);
    let known = Known::new(request.known, &columns);
    let hasher = RowHasher::new(&request.key, &columns);
    let deleted = Deleted {
        dataset,
        columns: &columns,
        hasher: &hasher,
        batch: batch_rows(dataset, &columns),
    };
    let mut table = Table::new(dataset, &known);
    let mut rows_read = table.subtract(&deleted, request.threads, notes).await;
    let mut pass = Pass::new(dataset, reporter, &request);
    let fresh = table.unread();
    pass.read(fresh.clone(), &columns, Some(&hasher)).await?;
    rows_read += pass.rows;
    table.take(&mut pass.digests);
    if request.undeleted {
        rows_read += table.add_deleted(&deleted, &fresh, request.threads, notes).await;
    }
    let vectors = pass.search_columns();
    if !vectors.is_empty() {
        let ids: BTreeSet<u64> = fresh.iter().map(|fragment| fragment.id).collect();
        let rest = dataset
            .fragments()
            .iter()
            .filter(|fragment| !ids.contains(&fragment.id));
        pass.read(rest.cloned().collect(), &vectors, None).await?;
    }
    let conserved = match table.conserved(dataset, &known).await {
        Ok(conserved) => conserved,
        Err(error) => {
            notes.push(format!(
                "rewrites were not judged, a transaction can not be read: {error}"
            ));
            Conserved::default()
        }
    };
    Ok(Scanned {
        content: Content {
            rows_read,
            rewrites: conserved.judged,
            ..table.content(&columns)
        },
        nearest: pass.searches.into_iter().map(Nearest::into_hits).collect(),
        broken: conserved.broken,
    })
}

/// Names of the columns that are digested; the others are noted.
fn columns(dataset: &Dataset, notes: &mut Vec<String>) -> Vec<String> {
    let mut columns = Vec::new();
    for field in &dataset.schema().fields {
        let kind = field.data_type();
        if field.is_blob() || canonical::supports(&kind) {
            columns.push(field.name.clone());
        } else {
            notes.push(format!(
                "column {} is not digested: type {kind} has no canonical form",
                field.name
            ));
        }
    }
    columns
}

struct Pass<'a> {
    dataset: &'a Arc<Dataset>,
    reporter: &'a Arc<Reporter>,
    searches: Vec<Nearest>,
    digests: ByFragment,
    rows: u64,
    total: u64,
    threads: usize,
    memory: u64,
}

impl<'a> Pass<'a> {
    fn new(dataset: &'a Arc<Dataset>, reporter: &'a Arc<Reporter>, request: &Request<'_>) -> Self {
        let rows = dataset.fragments().iter().filter_map(Fragment::num_rows);
        Self {
            dataset,
            reporter,
            searches: request.searches.clone(),
            digests: ByFragment::new(),
            rows: 0,
            total: rows.sum::<usize>() as u64,
            threads: request.threads,
            memory: request.memory,
        }
    }

    fn search_columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = self.searches.iter().map(|search| search.column.clone()).collect();
        columns.sort();
        columns.dedup();
        columns.retain(|column| self.dataset.schema().field(column).is_some());
        columns
    }

    async fn read(
        &mut self,
        fragments: Vec<Fragment>,
        columns: &[String],
        hasher: Option<&RowHasher>,
    ) -> Result<(), Error> {
        if fragments.is_empty() {
            return Ok(());
        }
        let mut scanner = self.dataset.scan();
        scanner.project(columns)?;
        scanner
            .blob_handling(BlobHandling::AllBinary)
            .with_fragments(fragments)
            .with_row_id()
            .with_row_address()
            .scan_in_order(false)
            .use_scalar_index(false)
            .batch_size(batch_rows(self.dataset, columns))
            .batch_readahead(self.threads)
            .fragment_readahead(2)
            .io_buffer_size((self.memory / 16).max(8 << 20));
        let template: Vec<Nearest> = self.searches.iter().map(Nearest::fresh).collect();
        let batches = scanner.try_into_stream().await?;
        let hash = |batch: Result<RecordBatch, lance::Error>| {
            let (hasher, searches) = (hasher.cloned(), template.clone());
            async move {
                let batch = batch?;
                let work = move || digest(&batch, hasher.as_ref(), searches);
                tokio::task::spawn_blocking(work).await.map_err(Error::Hash)?
            }
        };
        let mut parts = batches.map(hash).buffer_unordered(self.threads);
        while let Some(part) = parts.next().await {
            let part = part?;
            self.rows += part.rows;
            self.searches
                .iter_mut()
                .zip(&part.searches)
                .for_each(|(all, part)| all.merge(part));
            for (fragment, digest) in &part.digests {
                self.digests.entry(*fragment).or_default().add(digest);
            }
            self.reporter.progress(self.rows, self.total);
        }
        Ok(())
    }
}

struct Part {
    rows: u64,
    digests: ByFragment,
    searches: Vec<Nearest>,
}

fn digest(
    batch: &RecordBatch,
    hasher: Option<&RowHasher>,
    mut searches: Vec<Nearest>,
) -> Result<Part, Error> {
    let mut digests = ByFragment::new();
    if let Some(hasher) = hasher {
        hasher.add(batch, &mut digests)?;
    }
    if let Some(rows) = batch.column_by_name(ROW_ID) {
        let rows = rows.as_primitive::<UInt64Type>().values();
        let mut columns: Vec<String> = searches.iter().map(|search| search.column.clone()).collect();
        columns.dedup();
        for column in columns {
            if let Some(vectors) = batch.column_by_name(&column) {
                exact::compare(&mut searches, &column, vectors, rows);
            }
        }
    }
    Ok(Part {
        rows: batch.num_rows() as u64,
        digests,
        searches,
    })
}

/// As many rows as keep a batch near its size, by what the types say.
fn batch_rows(dataset: &Dataset, columns: &[String]) -> usize {
    const TEXT: u64 = 128;
    let width = |name: &String| {
        let Some(field) = dataset.schema().field(name) else {
            return TEXT;
        };
        if field.is_blob() {
            return 1 << 20;
        }
        match field.data_type() {
            arrow_schema::DataType::FixedSizeList(item, size) => {
                let item = item.data_type().primitive_width().unwrap_or(8) as u64;
                item * u64::try_from(size).unwrap_or_default()
            }
            other => other.primitive_width().map_or(TEXT, |width| width as u64),
        }
    };
    let row: u64 = columns.iter().map(width).sum::<u64>().max(1);
    usize::try_from((BATCH_BYTES / row).clamp(16, 8192)).unwrap_or(16)
}
