//! The wait before another attempt.

use std::time::Duration;

use crate::RetryPolicy;

/// Exponential with jitter: after the `attempt`-th run (1 is the first) failed. `random` is from [0, 1).
pub fn backoff(policy: &RetryPolicy, attempt: u32, random: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(62);
    let full = policy.backoff.as_secs_f64() * 2f64.powi(i32::try_from(doublings).expect("at most 62"));
    Duration::from_secs_f64(full.min(policy.max_backoff.as_secs_f64()) * (0.5 + random / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit_and_jitters_downwards() {
        let policy =
            RetryPolicy { max_attempts: 5, backoff: Duration::from_secs(2), max_backoff: Duration::from_secs(10) };
        let seconds = |attempt, random| backoff(&policy, attempt, random).as_secs_f64();
        assert!((seconds(1, 0.0) - 1.0).abs() < 1e-9);
        assert!((seconds(1, 0.999_999_999) - 2.0).abs() < 1e-6);
        assert!((seconds(3, 0.0) - 4.0).abs() < 1e-9);
        assert!((seconds(4, 0.0) - 5.0).abs() < 1e-9);
        assert!((seconds(u32::MAX, 0.0) - 5.0).abs() < 1e-9);
    }
}
