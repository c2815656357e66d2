//! Waiting with a batch in flight until it can be written again, within bounds: its claims are kept for a while and then
//! released, and a drain ends the waiting.

use std::time::Duration;

use jobqueue_ingest::SinkError;
use tokio::time::Instant;

use super::isolation::MOST_BREAKS;
use crate::deps::Deps;
use crate::state::circuit_breaker::RetrySignal;

/// The wait of a part that is to blame itself before its next attempt, which doubles.
const BREAKER_AGAIN: Duration = Duration::from_millis(125);

/// What the database has cost one batch so far.
pub(super) struct Outage<'a> {
    deps: &'a Deps,
    /// Since when the database is away; `None` while it is not.
    away: Option<Away>,
}

struct Away {
    since: Instant,
    retry: RetrySignal,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// The write may be tried again.
    Retry,
    /// The claims must be released.
    Release,
}

impl<'a> Outage<'a> {
    pub(super) const fn new(deps: &'a Deps) -> Self {
        Self { deps, away: None }
    }

    /// Reports that the database is away, and waits until it may be back.
    pub(super) async fn wait_for_database(&mut self, error: &SinkError) -> Waited {
        let deps = self.deps;
        deps.metrics().database_failed(error);
        deps.metrics().database_up.set(0);
        let away = self
            .away
            .get_or_insert_with(|| Away { since: Instant::now(), retry: deps.circuit_breaker().retry_signal() });
        away.retry.forget();
        deps.circuit_breaker().failed(error);
        tokio::select! {
            biased;
            () = deps.shutdown().draining() => Waited::Release,
            () = tokio::time::sleep_until(away.since + deps.settings.hold) => Waited::Release,
            () = away.retry.received() => Waited::Retry,
        }
    }

    /// Waits with a part that was the reason of `breaks` failures itself: the others are claimed and written meanwhile.
    pub(super) async fn wait_alone(&self, error: &SinkError, breaks: u32) -> Waited {
        let deps = self.deps;
        deps.metrics().database_failed(error);
        let held_for_long = async {
            match &self.away {
                Some(away) => tokio::time::sleep_until(away.since + deps.settings.hold).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = deps.shutdown().draining() => Waited::Release,
            () = held_for_long => Waited::Release,
            () = tokio::time::sleep(BREAKER_AGAIN * (1 << breaks.min(MOST_BREAKS))) => Waited::Retry,
        }
    }

    /// Waits until the database takes a trial write, without the job that was on the connection when that ended: either the
    /// job broke it or an outage is over, which [`MOST_BREAKS`] tells apart.
    pub(super) async fn wait_for_trial_write(&mut self) -> Waited {
        while let Err(error) = self.deps.probe_database().await {
            if self.wait_for_database(&error).await == Waited::Release {
                return Waited::Release;
            }
        }
        self.away = None;
        self.deps.probe_succeeded();
        Waited::Retry
    }
}
