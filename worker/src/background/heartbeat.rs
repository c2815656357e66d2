//! The heartbeat: renews the leases of all jobs in flight, and the worker's own record, each third of the lease.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::deps::Deps;

/// Runs until dropped.
pub(crate) async fn run(deps: &Deps) {
    let every = deps.settings.lease / 3;
    let mut backoff = Backoff::new(Duration::from_millis(100), every);
    let mut wait = every;
    loop {
        tokio::time::sleep(wait).await;
        deps.instruments.health.beat();
        // A heartbeat that hangs must not keep the next from being tried.
        let leases = deps.in_flight.leases();
        let answer = tokio::time::timeout(every, deps.backend.heartbeat(&leases)).await;
        if let Ok(answer) = &answer {
            deps.note_redis(answer.as_ref().err());
        }
        match answer {
            Ok(Ok(lost)) => {
                if !lost.is_empty() {
                    tracing::warn!(jobs = lost.len(), "leases went to another worker");
                    deps.in_flight.mark_lost(&lost);
                }
                backoff.reset();
                wait = every;
            }
            Ok(Err(_)) => wait = backoff.next(rand::random()),
            Err(_) => wait = Duration::ZERO,
        }
    }
}
