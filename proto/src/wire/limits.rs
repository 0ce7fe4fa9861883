//! The most that one message may hold. Senders keep them, receivers enforce them.

/// Bytes of one message. Whoever serves or calls sets it: a result with the largest document must fit.
pub const MESSAGE: usize = 6 << 20;

/// Bytes of one answer to an operator: a list over a large fleet.
pub const ANSWER: usize = 64 << 20;

/// Bytes of one text.
pub const TEXT: usize = 64 << 10;

/// Bytes of the document in a result.
pub const DOCUMENT: usize = 4 << 20;

/// Names of sources, hooks, paths or probes in one message.
pub const NAMES: usize = 1_000;

/// Sources in an inventory.
pub const SOURCES: usize = 10_000;

/// Snapshots in an inventory.
pub const SNAPSHOTS: usize = crate::model::Inventory::MOST_SNAPSHOTS;

/// Tasks in a hello or heartbeat.
pub const TASKS: usize = 1_000;

/// Results in one message of history; an agent that has more sends several.
pub const RESULTS: usize = 1_000;

/// Plans of one host.
pub const PLANS: usize = 1_000;
