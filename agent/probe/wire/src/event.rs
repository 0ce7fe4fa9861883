//! How a probe tells what it does: one JSON object a line on its standard output.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Step};
use crate::measure::TableMeasure;

/// The longest line that an agent reads: facts of a table with many fragments are large.
pub const MAX_LINE: usize = 64 << 20;

/// Exit code of a probe that panicked outside of a table.
pub const EXIT_PANIC: u8 = 70;
/// Exit code of a probe that reached its memory limit.
pub const EXIT_LIMIT: u8 = 75;
/// Exit code of a probe whose agent has gone.
pub const EXIT_GONE: u8 = 69;
/// Exit code of a probe that got no job it understands.
pub const EXIT_USAGE: u8 = 64;

/// Which program measures, as far as answers may depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProbeIdentity {
    /// Version of the probe.
    pub probe: String,
    /// Version of LanceDB in it.
    pub lancedb: String,
    /// Version of Lance in it.
    pub lance: String,
    /// Architecture and vector instructions: other ones add floats in another order.
    pub cpu: String,
}

/// What a probe tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line.
    Hello {
        /// Who speaks.
        probe: ProbeIdentity,
        /// The protocol it speaks.
        protocol: u32,
    },
    /// The tables that will be measured.
    Found {
        /// Their folders.
        tables: Vec<String>,
    },
    /// Where it stands; sent when a step begins, and at most a few times a second while it goes on.
    Progress {
        /// The table.
        table: String,
        /// What is being done.
        step: Step,
        /// Rows done.
        done: u64,
        /// Rows in all; 0 if not known, or if the step counts none.
        total: u64,
    },
    /// A table is finished.
    Table(Box<TableMeasure>),
    /// Something panicked. Inside a table it becomes a fault of that table as well, and the job goes on.
    Panic {
        /// The table.
        #[serde(default)]
        table: Option<String>,
        /// What was being done.
        #[serde(default)]
        step: Option<Step>,
        /// The message.
        message: String,
        /// File and line in the source.
        #[serde(default)]
        at: Option<String>,
    },
    /// The job cannot go on. Nothing follows.
    Failed(Fault),
    /// The job is done. Nothing follows.
    Done(Summary),
}

/// What it took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Tables measured.
    pub tables: u64,
    /// Reads asked of the tree.
    pub reads: u64,
    /// Bytes read from the tree.
    pub bytes: u64,
    /// Peak resident memory in bytes.
    pub peak_memory: u64,
    /// Milliseconds.
    pub millis: u64,
    /// What the kernel kept it from.
    #[serde(default)]
    pub confinement: Confinement,
}

/// What the kernel keeps a probe from, whatever the bytes that it decodes make of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// No file can be opened but those of its job (Landlock).
    pub files: bool,
    /// No connection can be made and no program started (seccomp).
    pub calls: bool,
    /// Why one of them is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}
