//! How long to wait before the next try to reach a coordinator.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// A stream that lived this long was healthy.
pub(super) const HEALTHY: Duration = Duration::from_secs(60);

/// Waits that double, with jitter so that a fleet does not come back in one wave.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    chance: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(chance: fastrand::Rng) -> Self {
        Self { failures: 0, chance }
    }

    /// A try failed: how long to wait. Between half and all of a time that doubles, up to [`LONGEST`].
    pub(super) fn next(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.5 + self.chance.f64() / 2.0)
    }

    /// A stream ended that lived that long.
    pub(super) fn lived(&mut self, time: Duration) {
        if time >= HEALTHY {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seed: u64, count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed));
        (0..count).map(|_| backoff.next()).collect()
    }

    #[test]
    fn waits_double_up_to_a_minute_and_are_not_the_same_for_all() {
        for (at, wait) in waits(1, 40).into_iter().enumerate() {
            let most = FIRST.saturating_mul(1 << at.min(16)).min(LONGEST);
            assert!(wait >= most / 2 && wait <= most, "{at}: {wait:?}");
        }
        assert_ne!(waits(1, 8), waits(2, 8));
    }

    #[test]
    fn only_a_stream_that_lived_a_minute_begins_anew() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(1));
        for _ in 0..10 {
            backoff.next();
        }
        backoff.lived(HEALTHY - Duration::from_secs(1));
        assert!(backoff.next() >= LONGEST / 2);
        backoff.lived(HEALTHY);
        assert!(backoff.next() <= FIRST);
    }
}
