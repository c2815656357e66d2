//! Workers killed with SIGKILL at random steps: nothing is lost (every job is committed or in the failed registry) and
//! nothing takes effect twice, in each database.
//!
//! `JOBQUEUE_TEST_KILLS` and `JOBQUEUE_TEST_JOBS` make it as long as wanted; `JOBQUEUE_TEST_SEED` repeats a run.

use std::time::Duration;

use crate::fixture::{Fixture, Rows, number};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Two workers share the queue; one of them dies at a random step of its work, and a fresh one takes its place.
fn killed_at_random(rows: Rows) {
    let kills = number("JOBQUEUE_TEST_KILLS", 6);
    let jobs = usize::try_from(number("JOBQUEUE_TEST_JOBS", 3000)).unwrap();
    let seed = number("JOBQUEUE_TEST_SEED", rand::random());
    println!("JOBQUEUE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let fixture = Fixture::new(rows);
    let spoiled = fixture.enqueue(jobs, 50);
    let mut workers = vec![fixture.start(), fixture.start()];
    for _ in 0..kills {
        let victim = random.random_range(0..workers.len());
        let steps = random.random_range(1..60);
        // Lines stop when the queue is empty; then the kill hits an idle worker.
        workers[victim].wait_for_lines(steps, Duration::from_secs(3));
        workers[victim].kill();
        workers[victim] = fixture.start();
    }
    fixture.until_done(jobs, &mut workers);
    for worker in workers {
        worker.terminate();
    }
    fixture.check(jobs, spoiled);
}

#[test]
fn workers_killed_at_random_with_sqlite() {
    killed_at_random(Rows::sqlite());
}

#[test]
fn workers_killed_at_random_with_postgresql() {
    killed_at_random(Rows::postgres());
}

#[test]
fn workers_killed_at_random_with_mariadb() {
    killed_at_random(Rows::mariadb());
}
