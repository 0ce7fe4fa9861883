//! How a run spreads over its hosts, and when it stops spreading.

use std::fmt;
use std::str::FromStr;

use crate::model::units::Percent;

/// How a run spreads.
#[derive(Debug, Clone, PartialEq)]
pub struct Waves {
    /// How many hosts have been asked when each wave is out, counted from the first; the last is everybody.
    pub sizes: Vec<WaveSize>,
    /// More than this share of the asked hosts failed: the rest is not asked.
    pub stop_failed: Option<Percent>,
    /// The same for inconclusive ends.
    pub stop_inconclusive: Option<Percent>,
    /// Fewer than this share of the hosts that should have taken part passed: the run proves too little.
    pub coverage: Option<Percent>,
}

impl Default for Waves {
    fn default() -> Self {
        Self {
            sizes: vec![WaveSize::Share(Percent(100.0))],
            stop_failed: None,
            stop_inconclusive: None,
            coverage: None,
        }
    }
}

/// How many hosts have been asked when a wave is out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WaveSize {
    /// So many.
    Hosts(u32),
    /// So large a share of all, rounded up.
    Share(Percent),
}

/// How the tasks of the waves that have begun ended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hosts in the waves that have begun, whether their tasks have ended or not.
    pub asked: u32,
    /// Tasks that ended failed.
    pub failed: u32,
    /// Tasks that ended inconclusive, refused, expired or lost.
    pub inconclusive: u32,
}

impl Waves {
    /// Where each wave ends in an order of `hosts` hosts. Every wave adds somebody; the last end is `hosts`.
    pub fn ends(&self, hosts: u32) -> Vec<u32> {
        let mut ends: Vec<u32> = Vec::with_capacity(self.sizes.len());
        for size in &self.sizes {
            let end = size.of(hosts);
            if end > ends.last().copied().unwrap_or(0) {
                ends.push(end);
            }
        }
        if hosts > ends.last().copied().unwrap_or(0) {
            ends.push(hosts);
        }
        ends
    }

    /// Which wave, from 1, the host at `index` (from 0) of `hosts` belongs to.
    pub fn wave_of(&self, index: u32, hosts: u32) -> u32 {
        let ends = self.ends(hosts);
        let before = ends.iter().take_while(|end| **end <= index).count();
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Why no further host is asked, if too many answers are bad.
    pub fn stop(&self, tally: Tally) -> Option<String> {
        let Tally {
            asked,
            failed,
            inconclusive,
        } = tally;
        let over = |bad: u32, limit: Option<Percent>, word: &str| {
            let limit = limit.filter(|limit| f64::from(bad) * 100.0 > limit.0 * f64::from(asked))?;
            Some(format!(
                "{bad} of {asked} asked hosts {word}: more than {limit}, so the rest is not asked"
            ))
        };
        over(failed, self.stop_failed, "failed")
            .or_else(|| over(inconclusive, self.stop_inconclusive, "were inconclusive"))
    }
}

impl WaveSize {
    /// In hosts, of `hosts` in all: at least one, never more than there are.
    fn of(self, hosts: u32) -> u32 {
        let end = match self {
            Self::Hosts(count) => count,
            Self::Share(share) => share_up(share, hosts),
        };
        end.max(1).min(hosts)
    }
}

/// A share of `hosts`, rounded up; what floating point adds beyond a whole number does not count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1 of a u32"
)]
fn share_up(share: Percent, hosts: u32) -> u32 {
    (f64::from(hosts) * share.0 / 100.0 - 1e-6).ceil().max(0.0) as u32
}

impl fmt::Display for WaveSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(count) => count.fmt(f),
            Self::Share(share) => share.fmt(f),
        }
    }
}

/// No size of a wave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the size of a wave: a number of hosts such as `5`, or a share such as `10 %`, is expected"
)]
pub struct WaveSizeError(String);

impl FromStr for WaveSize {
    type Err = WaveSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || WaveSizeError(text.chars().take(80).collect());
        match text.trim().parse::<u32>() {
            Ok(0) => Err(refuse()),
            Ok(count) => Ok(Self::Hosts(count)),
            Err(_) => match text.parse::<Percent>() {
                Ok(share) if share.0 > 0.0 => Ok(Self::Share(share)),
                _ => Err(refuse()),
            },
        }
    }
}
