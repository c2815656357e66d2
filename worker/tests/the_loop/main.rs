//! The worker's loop against a queue and a database in memory, on a paused clock: what it does with bad jobs, with a
//! database or a Redis that is away, with lost leases, and when it is told to stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod database;
mod extraction;
mod harness;
mod jobs;
mod redis;
mod shutdown;

use harness::Queue;

/// Jobs that a worker takes at most: two batches of ten are being written, and two are on their way.
const IN_FLIGHT: usize = 40;

fn push(queue: &Queue, jobs: usize) {
    for number in 0..jobs {
        queue.push(&format!("j{number}"), "{}");
    }
}
