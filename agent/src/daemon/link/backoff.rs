//! How long to wait before the next try to reach a coordinator.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// A stream that outlived so many heartbeats was healthy: its coordinator was not about to fall over again.
const BEATS: u32 = 3;
/// A stream that lived this long was healthy, however rare its heartbeats are.
const HEALTHY: Duration = Duration::from_secs(60);

/// Waits that double, with jitter so that a fleet does not come back in one wave.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    /// When a coordinator said welcome on the present stream, and how long it must live from then to be healthy.
    welcome: Option<(Instant, Duration)>,
    chance: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(chance: fastrand::Rng) -> Self {
        Self {
            failures: 0,
            welcome: None,
            chance,
        }
    }

    /// A try failed: how long to wait. Between half and all of a time that doubles, up to [`LONGEST`].
    pub(super) fn next(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.5 + self.chance.f64() / 2.0)
    }

    /// A coordinator said welcome, and asked for heartbeats that far apart.
    pub(super) fn welcomed(&mut self, heartbeat: Duration) {
        let enough = heartbeat.saturating_mul(BEATS).min(HEALTHY);
        self.welcome = Some((Instant::now(), enough));
    }

    /// A stream ended, or none came about. After a healthy one waits begin anew; a coordinator that falls over soon
    /// after each welcome is asked more and more seldom.
    pub(super) fn parted(&mut self) {
        let healthy = |(since, enough): (Instant, Duration)| since.elapsed() >= enough;
        if self.welcome.take().is_some_and(healthy) {
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

    /// A backoff that has failed often, after a stream that was welcomed and lived that long.
    async fn after(heartbeat: Duration, lived: Duration) -> Duration {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(1));
        for _ in 0..10 {
            backoff.next();
        }
        backoff.welcomed(heartbeat);
        tokio::time::advance(lived).await;
        backoff.parted();
        backoff.next()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_begin_anew_after_a_welcome_and_a_few_heartbeats() {
        let beat = Duration::from_secs(15);
        assert!(after(beat, beat * BEATS).await <= FIRST);
        assert!(after(beat, beat * BEATS - Duration::from_secs(1)).await >= LONGEST / 2);
        let rare = Duration::from_secs(300);
        assert!(after(rare, HEALTHY).await <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_falls_over_after_each_welcome_is_asked_more_and_more_seldom() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        let began = Instant::now();
        let mut tries = 0;
        while began.elapsed() < Duration::from_secs(600) {
            backoff.welcomed(Duration::from_secs(15));
            tokio::time::advance(Duration::from_secs(2)).await;
            backoff.parted();
            tokio::time::advance(backoff.next()).await;
            tries += 1;
        }
        assert!(tries < 25, "{tries} in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_never_said_welcome_changes_nothing() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(1));
        for _ in 0..10 {
            backoff.next();
        }
        tokio::time::advance(HEALTHY * 2).await;
        backoff.parted();
        assert!(backoff.next() >= LONGEST / 2);
    }
}
