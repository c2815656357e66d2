//! How long to wait: after failures in a row twice as long each time, with many queues longer than with few, and with
//! jitter, so that many objects do not return in step.

use std::time::Duration;

/// The first wait, and the longest.
const RANGE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Milliseconds between two attempts of all queues together, where many fail again and again; no queue waits longer than that.
const AMONG_MANY: (u64, Duration) = (20, Duration::from_secs(300));

/// The wait after the `failures`th failure in a row; `random` in [0, 1) moves it by a quarter either way.
pub(crate) fn wait(failures: u32, random: f64) -> Duration {
    wait_among(0, failures, random)
}

/// The same where so many queues are `failing`: together they try at most so often.
pub(crate) fn wait_among(failing: usize, failures: u32, random: f64) -> Duration {
    let (first, longest) = (RANGE.0, longest_among(failing, RANGE.1));
    let doublings = failures.saturating_sub(1).min(16);
    jittered(first.saturating_mul(1 << doublings).min(longest), random)
}

/// The longest wait of a queue where so many are `failing`, and `alone` where they are few.
pub(crate) fn longest_among(failing: usize, alone: Duration) -> Duration {
    let (pace, longest) = AMONG_MANY;
    per_queue(failing, pace).clamp(alone, longest)
}

/// `pause`, moved by up to a quarter either way by `random` in [0, 1).
pub(crate) fn jittered(pause: Duration, random: f64) -> Duration {
    pause.mul_f64(0.75 + random / 2.0)
}

/// So many milliseconds for each queue.
pub(crate) fn per_queue(queues: usize, milliseconds: u64) -> Duration {
    Duration::from_millis(u64::try_from(queues).unwrap_or(u64::MAX).saturating_mul(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_bound_and_stays_in_its_band() {
        let waits: Vec<u128> = [1, 2, 3, 9, 1000].map(|failures| wait(failures, 0.5).as_millis()).to_vec();
        assert_eq!(waits, [250, 500, 1000, 60_000, 60_000]);
        assert_eq!(wait(3, 0.0), Duration::from_millis(750));
        assert!(wait(3, 0.999) < Duration::from_millis(1250));
    }

    #[test]
    fn the_more_fail_the_longer_each_waits_at_last() {
        let waits = [1, 3_000, 10_000, 1_000_000].map(|failing| wait_among(failing, 1000, 0.5).as_secs());
        assert_eq!(waits, [60, 60, 200, 300]);
        assert_eq!(wait_among(10_000, 1, 0.5).as_millis(), 250, "and not at first");
    }
}
