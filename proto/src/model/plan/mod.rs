//! Plans: what is rehearsed, where, when and how far a run may go.
//!
//! # Overview
//! A plan is a text, and nothing but the text: coordinator, agents and command line read the same one and compute
//! the same slots, shares, waves and work from it. No command line, URL or path travels in it: hooks are names that
//! the agent's own file defines. Verdicts are bound to the text's hash.

mod action;
mod error;
mod parse;
mod reader;
mod select;
mod waves;

use std::time::Duration;

use jiff::Timestamp;

pub use action::{Action, Drill, On};
pub use error::PlanErrors;
pub use select::{Coverage, Exclusion, Member, Selection, SourcePattern};
pub use waves::{Tally, WaveSize, Waves};

use super::schedule::{Schedule, draw};
use super::{HostName, PlanText};

/// The commented sample, as it ships.
pub const SAMPLE: &str = include_str!("../../../samples/plan.toml");

/// What verdicts are bound to: BLAKE3 of a plan's text, hex.
pub fn hash_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A plan that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its name; plans are replaced by name.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What to do when it is red.
    pub runbook: Option<String>,
    /// Which hosts and sources.
    pub select: Selection,
    /// Hosts that are left out although they match.
    pub exclude: Vec<Exclusion>,
    /// When.
    pub schedule: Schedule,
    /// What is asked of each host.
    pub action: Action,
    /// How a run spreads.
    pub waves: Waves,
    /// How far a run may go.
    pub limits: Limits,
    text: String,
    hash: String,
}

/// How far a run of a plan may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long one host's task may take, from the moment it is handed out.
    pub deadline: Duration,
    /// Further attempts at a task that was lost, expired or inconclusive.
    pub retries: u32,
    /// A run that would fetch more bytes is not begun.
    pub max_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(4 * 3_600),
            retries: 0,
            max_bytes: None,
        }
    }
}

impl Plan {
    /// Reads a plan; all that is wrong with it at once, each with line, key, reason and what to do.
    pub fn parse(text: &str) -> Result<Self, PlanErrors> {
        parse::plan(text)
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What verdicts are bound to: BLAKE3 of the text, hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Where this host stands in the order of a run: the lower, the earlier. Drawn anew for each slot, so that the
    /// first wave is not always the same host, and the same on every computer.
    pub fn rank(&self, slot: Timestamp, host: &HostName) -> u64 {
        let at = slot.as_second().to_be_bytes();
        draw(
            "drctl plan order 1",
            &[self.name.as_bytes(), &at, host.as_str().as_bytes()],
        )
    }

    /// The host that does the work for `host`: itself, or with `on` one of the candidates, spread evenly and the same
    /// on every computer. Another host is preferred: what is rehearsed is the loss of this one. `None`: no candidate.
    pub fn runner<'a>(
        &self,
        slot: Timestamp,
        host: &'a HostName,
        candidates: impl IntoIterator<Item = &'a HostName>,
    ) -> Option<&'a HostName> {
        if *self.action.on() == On::Itself {
            return Some(host);
        }
        let at = slot.as_second().to_be_bytes();
        candidates.into_iter().max_by_key(|candidate| {
            let parts = [
                self.name.as_bytes(),
                &at,
                host.as_str().as_bytes(),
                candidate.as_str().as_bytes(),
            ];
            (*candidate != host, draw("drctl plan runner 1", &parts))
        })
    }
}

impl From<&Plan> for PlanText {
    fn from(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            text: plan.text.clone(),
            hash: plan.hash.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
