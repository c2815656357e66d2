//! The heartbeat: renews every lease in hand, and the worker's own record, each third of the lease.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::worker::Worker;

/// Runs until dropped.
pub(crate) async fn run(worker: &Worker) {
    let every = worker.settings.lease / 3;
    let mut backoff = Backoff::new(Duration::from_millis(100), every);
    let mut wait = every;
    loop {
        tokio::time::sleep(wait).await;
        worker.health().beat();
        // A beat that hangs must not keep the next from being tried.
        let leases = worker.hand.leases();
        let answer = tokio::time::timeout(every, worker.backend.heartbeat(&leases)).await;
        match answer.map(|answer| worker.heard(answer)) {
            Ok(Ok(lost)) => {
                if !lost.is_empty() {
                    tracing::warn!(jobs = lost.len(), "leases went to another worker");
                    worker.hand.mark_lost(&lost);
                }
                backoff.reset();
                wait = every;
            }
            Ok(Err(_)) => wait = backoff.next(rand::random()),
            Err(_) => wait = Duration::ZERO,
        }
    }
}
