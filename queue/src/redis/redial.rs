//! When a server may be dialled again: one that is down is tried often at first, and one that answers too much is not.

use std::time::Duration;

use tokio::time::Instant;

use crate::QueueError;

/// After a failed attempt to connect, others that ask within this time are told the same, so that a burst of callers
/// does not queue up one time-out behind the other.
const REFUSE_AGAIN: Duration = Duration::from_millis(200);

/// A server that held to the limits for so long begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// What is known of the attempts to reach one server.
#[derive(Default)]
pub(super) struct Redial {
    refused: Option<(Instant, QueueError)>,
    /// Attempts to connect in a row that failed.
    failures: u32,
    /// Answers beyond a limit, each soon after the one before.
    excesses: u32,
    exceeded_at: Option<Instant>,
}

impl Redial {
    /// What the last attempt was told, if it is too soon for another one. A server that is not trusted is left alone for
    /// longer and longer.
    pub(super) fn refusal(&self, is_trusted: bool) -> Option<&QueueError> {
        let (when, error) = self.refused.as_ref()?;
        let pause = if is_trusted { REFUSE_AGAIN } else { pause(self.failures, self.excesses) };
        (when.elapsed() < pause).then_some(error)
    }

    /// It is connected. Whether that is of any use is seen by its first answer.
    pub(super) fn record_connection(&mut self) {
        self.refused = None;
    }

    /// A connection gave its first answer.
    pub(super) fn record_answer(&mut self) {
        self.failures = 0;
    }

    /// An attempt to connect failed, or a connection broke without an answer; `error` is what callers are told.
    pub(super) fn record_failure(&mut self, error: QueueError, is_excess: bool) {
        self.failures = self.failures.saturating_add(1);
        if is_excess { self.record_excess(error) } else { self.refused = Some((Instant::now(), error)) }
    }

    /// A connection was given up after an answer beyond a limit. It is not dialled again at once.
    pub(super) fn record_excess(&mut self, error: QueueError) {
        let now = Instant::now();
        let forgiven = self.exceeded_at.is_none_or(|at| now - at >= FORGIVEN_AFTER);
        self.excesses = if forgiven { 1 } else { self.excesses.saturating_add(1) };
        self.exceeded_at = Some(now);
        self.refused = Some((now, error));
    }
}

/// How long after the `failures`th failed attempt in a row to connect, and the `excesses`th answer beyond a limit, the next
/// attempt may begin.
fn pause(failures: u32, excesses: u32) -> Duration {
    let doubled = |first: u64, times: u32, longest: u64| {
        Duration::from_millis(first.saturating_mul(1 << times.min(16)).min(longest))
    };
    let after_failure = doubled(200, failures.saturating_sub(10), 5_000);
    if excesses == 0 { after_failure } else { after_failure.max(doubled(1_000, excesses - 1, 60_000)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_tried_often_and_one_that_floods_is_not() {
        let down = [1, 10, 11, 12, 100].map(|failures| pause(failures, 0).as_millis());
        assert_eq!(down, [200, 200, 400, 800, 5_000]);
        let floods = [1, 2, 3, 100].map(|excesses| pause(1, excesses).as_millis());
        assert_eq!(floods, [1_000, 2_000, 4_000, 60_000]);
    }

    /// How long it is left alone, in milliseconds.
    async fn left_alone(redial: &Redial, is_trusted: bool) -> u128 {
        let began = Instant::now();
        while redial.refusal(is_trusted).is_some() {
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        began.elapsed().as_millis()
    }

    fn down() -> QueueError {
        QueueError::Unavailable { endpoint: "redis://h:6379/0".into(), cause: "connection refused".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_end_with_a_connection() {
        let mut redial = Redial::default();
        assert!(redial.refusal(false).is_none(), "it was not tried");
        let mut pauses = Vec::new();
        for _ in 0..20 {
            redial.record_failure(down(), false);
            pauses.push(left_alone(&redial, false).await);
        }
        assert_eq!((pauses[0], pauses[19]), (200, 5_000), "{pauses:?}");
        redial.record_failure(down(), false);
        assert_eq!(left_alone(&redial, true).await, 200, "one that is trusted");
        redial.record_connection();
        assert!(redial.refusal(false).is_none());
        redial.record_failure(down(), false);
        assert_eq!(left_alone(&redial, false).await, 5_000, "it let us in, and gave no answer");
        redial.record_connection();
        redial.record_answer();
        redial.record_failure(down(), false);
        assert_eq!(left_alone(&redial, false).await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_floods_is_left_alone_until_it_held_to_the_limits_for_long() {
        let mut redial = Redial::default();
        let mut flood = async || {
            // It can be dialled each time: that alone is no merit.
            redial.record_connection();
            redial.record_answer();
            redial.record_excess(down());
            left_alone(&redial, false).await
        };
        assert_eq!([flood().await, flood().await, flood().await], [1_000, 2_000, 4_000]);
        tokio::time::advance(FORGIVEN_AFTER).await;
        assert_eq!(flood().await, 1_000);
    }
}
