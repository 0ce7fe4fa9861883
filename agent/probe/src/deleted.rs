//! Digests of deleted rows: a fragment that lost some is what it was without them.
//!
//! Data files are write-once, so a deleted row is still there to be read. Reading only those is cheaper than reading
//! the fragment again, as long as they are the smaller part.

use std::sync::Arc;

use dr_probe_wire::measure::Digest;
use lance::Dataset;
use lance::dataset::fragment::FileFragment;
use lance_core::datatypes::Field;
use lance_table::format::Fragment;

use crate::digest::{ByFragment, RowHasher};
use crate::fragments::undeleted;
use crate::scan::Error;

/// Reads the deleted rows of fragments of one version.
pub struct Deleted<'a> {
    /// The version.
    pub dataset: &'a Arc<Dataset>,
    /// The columns that are digested.
    pub columns: &'a [String],
    /// How.
    pub hasher: &'a RowHasher,
    /// Rows read at a time.
    pub batch: usize,
}

impl Deleted<'_> {
    /// Whether deleted rows of this fragment can be read by themselves, and are the smaller part of it.
    pub fn is_worth_it(&self, fragment: &Fragment) -> bool {
        let (Some(rows), Some(file)) = (fragment.physical_rows, &fragment.deletion_file) else {
            return false;
        };
        let field = |column: &String| self.dataset.schema().field(column);
        self.columns
            .iter()
            .all(|column| field(column).is_some_and(is_plain))
            && file.num_deleted_rows.is_some_and(|deleted| deleted * 2 <= rows)
    }

    /// The digest of the rows of a fragment that are deleted.
    ///
    /// # Errors
    /// When they can not be read or hashed.
    pub async fn digest(&self, fragment: &Fragment) -> Result<Digest, Error> {
        let Some(whole) = undeleted(fragment) else {
            return Ok(Digest::default());
        };
        let held = FileFragment::new(Arc::clone(self.dataset), fragment.clone());
        let Some(deleted) = held.get_deletion_vector().await? else {
            return Ok(Digest::default());
        };
        let offsets: Vec<u32> = deleted.to_sorted_iter().collect();
        let whole = FileFragment::new(Arc::clone(self.dataset), whole);
        let columns = self.dataset.schema().project(self.columns)?;
        let mut digests = ByFragment::new();
        for offsets in offsets.chunks(self.batch.max(1)) {
            let rows = whole.take(offsets, &columns).await?;
            let (hasher, id) = (self.hasher.clone(), fragment.id);
            let work = move || {
                let mut digests = ByFragment::new();
                hasher.add_of(&rows, id, &mut digests).map(|()| digests)
            };
            for digest in tokio::task::spawn_blocking(work)
                .await
                .map_err(Error::Hash)??
                .values()
            {
                digests.entry(id).or_default().add(digest);
            }
        }
        Ok(digests.remove(&fragment.id).unwrap_or_default())
    }
}

/// Whether a column's values come in one form, however they are read: blobs and extension types as JSON are given in
/// another one when rows are picked than when all are scanned.
fn is_plain(field: &Field) -> bool {
    const EXTENSION: &str = "ARROW:extension:name";
    !field.is_blob() && !field.metadata.contains_key(EXTENSION) && field.children.iter().all(is_plain)
}
