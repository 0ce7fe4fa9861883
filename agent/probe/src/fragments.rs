//! What is known of a table's fragments before it is read, and what becomes known of them.
//!
//! # Consistency
//! The key of a fragment's digest covers everything that decides its rows: id, data files, overlays, deletion
//! file, the columns, and the canonical form's version. All of that is write-once. A fragment of which rows are deleted
//! has a second key, without the deletion file: what is known under it still holds when more rows are deleted, and
//! those need only be subtracted.

use std::collections::HashMap;

use dr_probe_wire::measure::{Digest, FragmentDigest};
use lance_table::format::Fragment;

/// Part of every fragment key: another canonical form or cell hash is another digest.
const FORM: &str = "drctl digest 1";

/// Digests from an earlier measurement, for the columns that are digested now.
pub struct Known<'a> {
    digests: HashMap<&'a str, &'a Digest>,
    columns: &'a [String],
}

impl<'a> Known<'a> {
    /// What an earlier measurement says.
    pub fn new(digests: &'a [FragmentDigest], columns: &'a [String]) -> Self {
        let digests = digests
            .iter()
            .map(|known| (known.key.as_str(), &known.digest))
            .collect();
        Self { digests, columns }
    }

    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The digest of the rows that a fragment has.
    pub fn of(&self, fragment: &Fragment) -> Option<&'a Digest> {
        self.digests.get(key(fragment, self.columns).as_str()).copied()
    }
}

/// The fragment as it was before rows of it were deleted; `None` if none were.
pub fn undeleted(fragment: &Fragment) -> Option<Fragment> {
    fragment.deletion_file.as_ref()?;
    Some(Fragment {
        deletion_file: None,
        ..fragment.clone()
    })
}

/// Everything that decides the rows of a fragment, hashed.
pub fn key(fragment: &Fragment, columns: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(FORM);
    part(&fragment.id.to_string());
    for file in &fragment.files {
        part(&format!("{} {:?} {:?}", file.path, file.fields, file.base_id));
    }
    part(&format!("{:?}", fragment.overlays));
    part(&format!(
        "{:?}",
        fragment
            .deletion_file
            .as_ref()
            .map(|file| (file.id, file.read_version, file.base_id))
    ));
    columns.iter().for_each(|column| part(column));
    hasher.finalize().to_hex().to_string()
}
