//! Configuration of one host: `agent.toml`, then `DR_AGENT_…` variables, then flags, in one function; then one
//! `validate`. Unknown keys are refused with the line and the likely meaning, because a misspelt key that is
//! ignored is a backup that does not happen.

mod environment;
mod error;
mod load;
mod model;
mod source;
mod upload;
mod validate;

pub use self::environment::VARIABLES;
pub use self::error::{Error, Problem};
pub use self::load::{DEFAULT_PATH, Overrides, Surroundings, load};
pub use self::model::{
    Agent, Allow, Config, Coordinator, Credentials, Hook, Limits, LockMode, Metrics, Pins, Repository, S3,
    Scratch, Telemetry, Tls,
};
pub use self::source::{ExpandError, ResolvedSource, Source, SourceKind, expand_all, is_glob};
pub use self::upload::{InvalidWindow, UploadLimits, Window};
pub use dr_proto::model::units::{Floor, InvalidUnit, Percent, Period, Rate, Size};

/// The commented sample, as it ships.
pub const SAMPLE: &str = include_str!("../../agent.sample.toml");

#[cfg(test)]
mod tests;
