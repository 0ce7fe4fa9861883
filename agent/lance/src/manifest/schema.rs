//! Columns out of a manifest's fields.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::wire;

/// A column, nested ones by their dotted path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Field id, by which indices refer to it.
    pub id: i32,
    /// Dotted path from the top-level column.
    pub name: String,
    /// Lance's name of the type, such as `int64` or `fixed_size_list:float:384`.
    #[serde(rename = "type")]
    pub logical_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// A column of vectors of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorColumn {
    /// Dotted path from the top-level column.
    pub name: String,
    /// Length of each vector.
    pub dimension: u32,
    /// Type of one element, such as `float`.
    pub element: String,
}

impl Column {
    /// The column as one of vectors, if its type is a list of a fixed length.
    pub fn as_vector(&self) -> Option<VectorColumn> {
        let (element, dimension) = self
            .logical_type
            .strip_prefix("fixed_size_list:")?
            .rsplit_once(':')?;
        let dimension = dimension.parse().ok()?;
        Some(VectorColumn {
            name: self.name.clone(),
            dimension,
            element: element.to_owned(),
        })
    }
}

/// How deep columns may nest before we stop naming their parents: a cycle of parents must end.
const MAX_DEPTH: usize = 64;

pub(super) fn columns(fields: &[wire::Field]) -> Vec<Column> {
    let by_id: HashMap<i32, &wire::Field> = fields.iter().map(|field| (field.id, field)).collect();
    fields.iter().map(|field| column(field, &by_id)).collect()
}

fn column(field: &wire::Field, by_id: &HashMap<i32, &wire::Field>) -> Column {
    let mut names = vec![field.name.as_str()];
    let mut at = field;
    // Writers mark top-level columns by -1; a field is never its own parent.
    while let Some(parent) = by_id
        .get(&at.parent_id)
        .filter(|parent| parent.id != at.id && at.parent_id >= 0)
    {
        if names.len() == MAX_DEPTH {
            break;
        }
        names.push(&parent.name);
        at = parent;
    }
    names.reverse();
    Column {
        id: field.id,
        name: names.join("."),
        logical_type: field.logical_type.clone(),
        nullable: field.nullable,
    }
}

/// A fingerprint that changes when a column is added, dropped, renamed, retyped or made nullable.
pub(crate) fn fingerprint(columns: &[Column]) -> String {
    let mut hasher = blake3::Hasher::new();
    for column in columns {
        for part in [&column.name, &column.logical_type] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&[u8::from(column.nullable)]);
    }
    hasher.finalize().to_hex().as_str()[..32].to_owned()
}
