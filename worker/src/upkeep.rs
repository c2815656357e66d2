//! What every worker does for the queues besides its jobs: reclaim, pruning of the ledger, commands of people.

use std::time::Duration;

use jobqueue_queue::Command;

use crate::worker::Worker;

/// How often leases are reclaimed and due jobs moved.
const MAINTAIN_EVERY: Duration = Duration::from_secs(1);
/// How often old ledger entries are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How many rounds of pruning in a row: each removes a bounded number.
const PRUNE_ROUNDS: u32 = 100;

/// `wait` times a factor in [0.75, 1.25], so that workers started together do not stay in step.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.75 + 0.5 * rand::random::<f64>())
}

/// Reclaims lapsed leases and moves due jobs, until dropped. Also while draining: the last worker may be the only one.
pub(crate) async fn maintain(worker: &Worker) {
    loop {
        tokio::time::sleep(jittered(MAINTAIN_EVERY)).await;
        worker.metrics().callbacks_skipped(worker.backend.skipped_callbacks());
        if let Ok(done) = worker.heard(worker.backend.maintain().await) {
            worker.metrics().maintained(done);
            if done.reclaimed > 0 || done.abandoned > 0 {
                let (reclaimed, abandoned) = (done.reclaimed, done.abandoned);
                tracing::warn!(reclaimed, abandoned, "jobs of workers that died were taken back");
            }
        }
    }
}

/// Removes old ledger entries, until dropped. Needs no leader: whoever comes first removes them.
pub(crate) async fn prune(worker: &Worker) {
    loop {
        tokio::time::sleep(jittered(PRUNE_EVERY)).await;
        let mut pruned = 0;
        for _ in 0..PRUNE_ROUNDS {
            match worker.sink.prune_ledger(worker.settings.ledger_retention).await {
                Ok(0) => break,
                Ok(entries) => pruned += entries,
                Err(error) => {
                    worker.metrics().database_failed(&error);
                    tracing::warn!(%error, "old ledger entries were not removed; trying again in an hour");
                    break;
                }
            }
        }
        worker.metrics().pruned(pruned);
        if pruned > 0 {
            tracing::info!(entries = pruned, "old ledger entries removed");
        }
    }
}

/// Follows the commands that people send to this worker, until dropped.
///
/// `stop-job` interrupts the batch that is being written, and the batch is written without that job; where the commit was
/// on its way already, the job ends stopped with its rows in place. RQ's `kill-horse` has no meaning here: no process belongs to a single job, and killing all of them for one would take
/// an attempt from each. It is logged and otherwise ignored.
pub(crate) async fn obey(worker: &Worker) {
    loop {
        match worker.backend.next_command().await {
            Command::Shutdown => {
                tracing::info!("asked to shut down by a command: draining");
                worker.stop.request_drain();
            }
            Command::StopJobOf { queue, job } => {
                let in_hand = worker.hand.mark_stopped_of(Some(&queue), &job);
                tracing::info!(job, queue, in_hand, "asked to stop a job");
            }
            Command::StopJob(job) => {
                let in_hand = worker.hand.mark_stopped(&job);
                tracing::info!(job, in_hand, "asked to stop a job");
            }
            Command::KillHorse => tracing::warn!("ignored kill-horse: there is no process per job; use stop-job"),
        }
    }
}
