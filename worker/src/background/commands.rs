//! The commands that people send to this worker.

use jobqueue_queue::Command;

use crate::deps::Deps;

/// Handles commands until dropped.
///
/// `stop-job` interrupts the batch that is being written, and the batch is written without that job; where the commit was
/// on its way already, the job ends stopped with its rows in place. RQ's `kill-horse` is logged and otherwise ignored: no
/// process belongs to a single job, and killing all of them for one would take an attempt from each.
pub(crate) async fn handle_commands(deps: &Deps) {
    loop {
        match deps.backend.next_command().await {
            Command::Shutdown => {
                tracing::info!("asked to shut down by a command: draining");
                deps.shutdown().request_drain();
            }
            Command::StopJobOf { queue, job } => {
                let in_flight = deps.in_flight.mark_stopped(Some(&queue), &job);
                tracing::info!(job, queue, in_flight, "asked to stop a job");
            }
            Command::StopJob(job) => {
                let in_flight = deps.in_flight.mark_stopped(None, &job);
                tracing::info!(job, in_flight, "asked to stop a job");
            }
            Command::KillHorse => tracing::warn!("ignored kill-horse: there is no process per job; use stop-job"),
        }
    }
}
