//! Reconciles that fail or find something to repair: counted for each queue, and when the next one may begin.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    backoff,
    state::{
        key::Key,
        owners::ReconcilerState,
        registry::{Failures, Retry},
        status_cursor::NUMBERS_EVERY,
    },
};

/// Reconciles in a row that fail before the status says so.
const ATTEMPTS: u32 = 3;

impl ReconcilerState {
    /// Counts a failed reconcile; returns whether the status is to say so: not for a failure that the next attempt makes good,
    /// and however often it fails, only now and then.
    pub(crate) fn record_failure(&self, key: &Key) -> bool {
        self.lock().change_object(key, |object| {
            let Failures { in_a_row, reported_at, .. } = &mut **object.failures.get_or_insert_default();
            *in_a_row = in_a_row.saturating_add(1);
            let due = *in_a_row >= ATTEMPTS && reported_at.is_none_or(|at| at.elapsed() >= NUMBERS_EVERY);
            if due {
                *reported_at = Some(Instant::now());
            }
            due
        })
    }

    /// After a failed reconcile of an object of this `generation`: returns how many failed in a row, and how long the queue
    /// waits now, whatever wakes it: the more queues fail, the longer. One that `waits_for_event` waits unless something does.
    /// `random` is in [0, 1).
    pub(crate) fn schedule_retry(
        &self,
        key: &Key,
        generation: Option<i64>,
        waits_for_event: bool,
        random: f64,
    ) -> (u32, Duration) {
        let mut tables = self.lock();
        let failing = tables.failing;
        tables.change_object(key, |object| {
            let failures = object.failures.get_or_insert_default();
            let wait = backoff::wait_among(failing, failures.in_a_row, random);
            let retry = Retry { not_before: Instant::now() + wait, generation };
            failures.retry = (!waits_for_event).then_some(retry);
            (failures.in_a_row, wait)
        })
    }

    /// How long a queue of this `generation` still waits after a reconcile that failed; `None` if it may be reconciled now.
    pub(crate) fn until_retry(&self, key: &Key, generation: Option<i64>) -> Option<Duration> {
        let retry = self.lock().objects.get(key)?.failures.as_ref()?.retry?;
        let left = retry.not_before.saturating_duration_since(Instant::now());
        (retry.generation == generation && !left.is_zero()).then_some(left)
    }

    /// Counts a reconcile that found that somebody must repair something, or ends a row of them; returns how many there are.
    pub(crate) fn record_repair(&self, key: &Key, is_broken: bool) -> u32 {
        self.lock().change_object(key, |object| {
            object.repairs = if is_broken { object.repairs.saturating_add(1) } else { 0 };
            object.repairs
        })
    }

    /// Ends a row of failed reconciles.
    pub(crate) fn record_success(&self, key: &Key) {
        self.lock().change_object(key, |object| object.failures = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::owners::Owners;

    #[tokio::test(start_paused = true)]
    async fn no_wake_bypasses_the_wait_after_a_failure_but_a_change_does() {
        let reconciler = Owners::new().reconciler;
        let key = Key::new("a");
        assert_eq!(reconciler.until_retry(&key, Some(1)), None);
        for _ in 0..8 {
            reconciler.record_failure(&key);
            reconciler.schedule_retry(&key, Some(1), false, 0.5);
        }
        let wait = reconciler.until_retry(&key, Some(1)).expect("it failed");
        assert_eq!(wait, Duration::from_secs(32));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(reconciler.until_retry(&key, Some(1)).is_some(), "whatever wakes it");
        assert_eq!(reconciler.until_retry(&key, Some(2)), None, "a person may have repaired it");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(reconciler.until_retry(&key, Some(1)), None);
        reconciler.record_success(&key);
        assert!(reconciler.lock().objects.is_empty(), "nothing is kept of it");
    }
}
