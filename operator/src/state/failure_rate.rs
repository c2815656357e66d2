//! Whether jobs fail at an unusual rate: attempts of the last minute or so, from the counters that workers leave in Redis.

use jobqueue_queue::WorkerStats;

use crate::digest::fingerprint;

/// The time constant with which past attempts fade, in seconds.
const FADE_SECONDS: f64 = 60.0;
/// With fewer failures than that there is no rate.
const ENOUGH: f64 = 10.0;

/// Succeeded and failed, by the fingerprint of the worker's name, in their order.
type Counters = Box<[(u64, (u64, u64))]>;

/// Attempts that succeeded and failed lately; nothing until a worker was seen.
#[derive(Debug, Default)]
pub(crate) struct FailureRate(Option<Box<Attempts>>);

/// Attempts, the past fading.
#[derive(Debug)]
struct Attempts {
    at: f64,
    last: Counters,
    succeeded: f64,
    failed: f64,
}

impl FailureRate {
    /// Takes in the workers' counters at `now`, in seconds of a monotonic clock.
    pub(crate) fn observe(&mut self, now: f64, workers: &[WorkerStats]) {
        let counters = workers.iter().map(|worker| (fingerprint(&worker.name), (worker.succeeded, worker.failed)));
        let mut counters: Counters = counters.collect();
        counters.sort_unstable();
        let Some(known) = &mut self.0 else {
            if !counters.is_empty() {
                self.0 = Some(Box::new(Attempts { at: now, last: counters, succeeded: 0.0, failed: 0.0 }));
            }
            return;
        };
        let fade = (-(now - known.at).max(0.0) / FADE_SECONDS).exp();
        (known.succeeded, known.failed) = (known.succeeded * fade, known.failed * fade);
        for (name, (succeeded, failed)) in &counters {
            // What a worker did before it was first seen may be long ago.
            let Ok(at) = known.last.binary_search_by_key(name, |(name, _)| *name) else { continue };
            let (_, (succeeded_before, failed_before)) = &known.last[at];
            known.succeeded += succeeded.saturating_sub(*succeeded_before) as f64;
            known.failed += failed.saturating_sub(*failed_before) as f64;
        }
        (known.at, known.last) = (now, counters);
    }

    /// The warning; `None` unless more attempts fail than succeed.
    pub(crate) fn message(&self) -> Option<String> {
        let unusual = self.0.as_ref().is_some_and(|known| known.failed >= ENOUGH && known.failed > known.succeeded);
        unusual.then(|| {
            "more attempts fail than succeed; see which and why: jobqueue failed list groups them by cause".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::worker;

    #[test]
    fn many_failures_are_reported_and_forgotten() {
        let mut failures = FailureRate::default();
        failures.observe(0.0, &[worker("a", 5, 500)]);
        assert_eq!(failures.message(), None, "what was before is not counted");
        failures.observe(1.0, &[worker("a", 5, 509)]);
        assert_eq!(failures.message(), None, "nine are not many");
        failures.observe(2.0, &[worker("a", 7, 520), worker("b", 100, 0)]);
        assert!(failures.message().is_some());
        failures.observe(3.0, &[worker("a", 7, 520), worker("b", 160, 0)]);
        assert_eq!(failures.message(), None, "most succeed");
        failures.observe(4.0, &[worker("a", 7, 720)]);
        assert!(failures.message().is_some());
        failures.observe(400.0, &[worker("a", 7, 720)]);
        assert_eq!(failures.message(), None);
    }
}
