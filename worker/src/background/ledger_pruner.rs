//! Removes old ledger entries. It needs no leader: any worker may do it.

use std::time::Duration;

use super::jittered;
use crate::deps::Deps;

/// How often.
const EVERY: Duration = Duration::from_secs(3600);
/// How many rounds in a row: each removes a bounded number.
const ROUNDS: u32 = 100;

/// Runs until dropped.
pub(crate) async fn run(deps: &Deps) {
    loop {
        tokio::time::sleep(jittered(EVERY)).await;
        let mut pruned = 0;
        for _ in 0..ROUNDS {
            match deps.sink.prune_ledger(deps.settings.ledger_retention).await {
                Ok(0) => break,
                Ok(entries) => pruned += entries,
                Err(error) => {
                    deps.metrics().database_failed(&error);
                    tracing::warn!(%error, "old ledger entries were not removed; trying again in an hour");
                    break;
                }
            }
        }
        deps.metrics().pruned(pruned);
        if pruned > 0 {
            tracing::info!(entries = pruned, "old ledger entries removed");
        }
    }
}
