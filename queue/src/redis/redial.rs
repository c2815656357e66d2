//! When a server may be dialled again: one that is down is tried often at first, and one that answers too much is not.

use std::time::Duration;

use redis::RedisError;
use tokio::time::Instant;

use crate::redis::guard::dialer;

/// After a failed attempt to connect, others that ask within this time are told the same, so that a burst of callers
/// does not queue up one time-out behind the other.
const REFUSE_AGAIN: Duration = Duration::from_millis(200);

/// A server that held to the limits for so long begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

/// What is known of the attempts to reach one server.
#[derive(Default)]
pub(super) struct Redial {
    refused: Option<(Instant, RedisError)>,
    /// Attempts to connect in a row that failed.
    failures: u32,
    /// Answers beyond a limit, each soon after the one before.
    excesses: u32,
    exceeded_at: Option<Instant>,
}

impl Redial {
    /// What the last attempt was told, if it is too soon for another one. A server that is not trusted is left alone for
    /// longer and longer.
    pub(super) fn refusal(&self, is_trusted: bool) -> Option<&RedisError> {
        let (when, error) = self.refused.as_ref()?;
        let pause = if is_trusted { REFUSE_AGAIN } else { pause(self.failures, self.excesses) };
        (when.elapsed() < pause).then_some(error)
    }

    /// It is connected.
    pub(super) fn record_connection(&mut self) {
        (self.refused, self.failures) = (None, 0);
    }

    /// An attempt to connect failed.
    pub(super) fn record_failure(&mut self, error: RedisError) {
        self.failures = self.failures.saturating_add(1);
        self.refuse(error);
    }

    /// A connection was given up. After an answer beyond a limit it is not dialled again at once.
    pub(super) fn record_loss(&mut self, error: &RedisError) {
        if dialer::excess(error).is_some() {
            self.refuse(error.clone());
        }
    }

    fn refuse(&mut self, error: RedisError) {
        let now = Instant::now();
        if dialer::excess(&error).is_some() {
            let forgiven = self.exceeded_at.is_none_or(|at| now - at >= FORGIVEN_AFTER);
            self.excesses = if forgiven { 1 } else { self.excesses.saturating_add(1) };
            self.exceeded_at = Some(now);
        }
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
    use std::io;

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

    fn down() -> RedisError {
        io::Error::from(io::ErrorKind::ConnectionRefused).into()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_end_with_a_connection() {
        let mut redial = Redial::default();
        assert!(redial.refusal(false).is_none(), "it was not tried");
        let mut pauses = Vec::new();
        for _ in 0..20 {
            redial.record_failure(down());
            pauses.push(left_alone(&redial, false).await);
        }
        assert_eq!((pauses[0], pauses[19]), (200, 5_000), "{pauses:?}");
        redial.record_failure(down());
        assert_eq!(left_alone(&redial, true).await, 200, "one that is trusted");
        redial.record_connection();
        assert!(redial.refusal(false).is_none());
        redial.record_loss(&down());
        assert!(redial.refusal(false).is_none(), "what broke is dialled at once");
        redial.record_failure(down());
        assert_eq!(left_alone(&redial, false).await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_floods_is_left_alone_until_it_held_to_the_limits_for_long() {
        let mut redial = Redial::default();
        let mut flood = async || {
            // It can be dialled each time: that alone is no merit.
            redial.record_connection();
            redial.record_loss(&dialer::exceeded("8 bytes".into()));
            left_alone(&redial, false).await
        };
        assert_eq!([flood().await, flood().await, flood().await], [1_000, 2_000, 4_000]);
        tokio::time::advance(FORGIVEN_AFTER).await;
        assert_eq!(flood().await, 1_000);
    }
}
