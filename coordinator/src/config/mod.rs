//! Configuration of the coordinator: `coordinator.toml`, then `DR_COORDINATOR_…` variables, then one `validate`.
//! Unknown keys are refused with the line and the likely meaning, because a misspelt key that is ignored is an
//! objective that nobody watches.

mod environment;
mod error;
mod load;
mod model;
mod validate;

pub use self::environment::VARIABLES;
pub use self::error::Error;
pub use self::load::{DEFAULT_PATH, load};
pub use self::model::{
    Agents, Authority, Backup, Config, History, Inventory, Limits, Metrics, Objective, Telemetry, Tls,
};

/// The commented sample, as it ships.
pub const SAMPLE: &str = include_str!("../../coordinator.sample.toml");

#[cfg(test)]
mod tests;
