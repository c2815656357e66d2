//! The schedule of repeated attempts: exponential, with jitter so that many workers do not return at one instant.

use std::time::Duration;

/// How many doublings are worth counting; beyond this the longest wait has been reached for any sane setting.
const MOST_DOUBLINGS: u32 = 24;

/// Waits that double from `first` up to `longest`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// A schedule in its first state.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The wait after one more failure: `first * 2^n`, at most `longest`, times a factor in [0.5, 1] that `jitter`
    /// (uniform in [0, 1]) chooses.
    pub(crate) fn next(&mut self, jitter: f64) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(MOST_DOUBLINGS)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(f64::midpoint(1.0, jitter.clamp(0.0, 1.0)))
    }

    /// Starts over, after a success.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..6).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0).as_millis(), 100);
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!(backoff.next(0.0).as_millis(), 50);
        for _ in 0..100 {
            assert!(backoff.next(0.0) <= Duration::from_millis(500), "never over half of the longest");
        }
    }
}
