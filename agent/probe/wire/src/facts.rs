//! What is kept of a snapshot: the measurements made at its cut.

use serde::{Deserialize, Serialize};

use crate::event::ProbeIdentity;
use crate::job::{KnownTable, Queries, TableQueries};
use crate::measure::TableMeasure;

/// The facts of one database.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Which probe measured.
    pub probe: ProbeIdentity,
    /// What it measured, by table.
    pub tables: Vec<TableMeasure>,
}

impl Facts {
    /// The facts of one table.
    pub fn table(&self, path: &str) -> Option<&TableMeasure> {
        self.tables.iter().find(|table| table.path == path)
    }

    /// The queries that a drill asks again.
    pub fn replay(&self) -> Queries {
        let of = |table: &TableMeasure| TableQueries {
            path: table.path.clone(),
            queries: table.golden.iter().map(|golden| golden.query.clone()).collect(),
        };
        Queries::Replay(self.tables.iter().map(of).collect())
    }

    /// The fragment digests that the next snapshot's measurement need not compute again.
    ///
    /// A drill uses those of tables alone whose digest it has proved lately; else it reads everything.
    pub fn known(&self) -> Vec<KnownTable> {
        let of = |table: &TableMeasure| {
            let content = table.content.as_ref()?;
            Some(KnownTable {
                path: table.path.clone(),
                fragments: [&content.fragments[..], &content.undeleted].concat(),
            })
        };
        self.tables.iter().filter_map(of).collect()
    }
}
