//! How probes ended, counted: each probe is a child that may be killed by what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dr_probe_wire::host::Ended;

/// How many probes of this process ended how. Clones count into the same figures.
#[derive(Debug, Clone, Default)]
pub struct Exits(Arc<[AtomicU64; Ended::REASONS.len()]>);

impl Exits {
    /// One ended.
    pub fn count(&self, ended: &Ended) {
        let reasons = Ended::REASONS.iter().zip(self.0.iter());
        for (_, count) in reasons.filter(|(reason, _)| **reason == ended.reason()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every reason with its count, also those that never happened.
    pub fn snapshot(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Ended::REASONS.into_iter().zip(counts.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_under_its_reason_and_the_others_are_zero() {
        let exits = Exits::default();
        exits.clone().count(&Ended::Cancelled);
        exits.count(&Ended::Cancelled);
        exits.count(&Ended::NotStarted(std::io::Error::other("no such file")));
        let counted: Vec<_> = exits.snapshot().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("cancelled", 2), ("not_started", 1)]);
        assert_eq!(exits.snapshot().count(), Ended::REASONS.len());
    }
}
