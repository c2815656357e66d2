//! Maintenance of the queues, which every worker does: lapsed leases are reclaimed, due jobs are queued.

use std::time::Duration;

use super::jittered;
use crate::deps::Deps;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until dropped. Also while draining: the last worker may be the only one.
pub(crate) async fn run(deps: &Deps) {
    let metrics = deps.metrics();
    loop {
        tokio::time::sleep(jittered(EVERY)).await;
        metrics.callbacks_skipped(deps.backend.skipped_callbacks());
        let answer = deps.backend.maintain().await;
        deps.note_redis(answer.as_ref().err());
        if let Ok(done) = answer {
            metrics.maintained(done);
            if done.reclaimed > 0 || done.abandoned > 0 {
                let (reclaimed, abandoned) = (done.reclaimed, done.abandoned);
                tracing::warn!(reclaimed, abandoned, "jobs of workers that died were taken back");
            }
        }
    }
}
