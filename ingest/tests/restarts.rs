//! Servers that crash while batches are written, and come back: nothing is lost, nothing is there twice.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "conformance/fixture.rs"]
#[expect(dead_code, reason = "shared with the conformance suite, which uses the rest")]
mod fixture;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use jobqueue_ingest::{DatabaseKind, Recipe, Sink, SinkError, SinkOptions, Unit, UnitOutcome, connect, run_script};
use serde_json::json;

/// Batches that are in before the crash.
const BEFORE: usize = 20;
const BATCH: usize = 20;
/// How long it may take the writer to notice that the server is away.
const NOTICED: Duration = Duration::from_secs(60);

fn batch(recipe: &Recipe, number: usize) -> Vec<Unit> {
    (0..BATCH).map(|n| fixture::company(recipe, &format!("{number}-{n}"), 2)).collect()
}

/// What a worker does: the same batch again until the database is back. Tells `noticed` of each outage.
async fn write_until_in(sink: &dyn Sink, recipe: &Recipe, units: &[Unit], noticed: &Sender<()>) {
    for _ in 0..1_000 {
        match sink.write(recipe, units).await {
            Ok(outcomes) => {
                assert!(!outcomes.iter().any(|outcome| matches!(outcome, UnitOutcome::Rejected(_))), "{outcomes:?}");
                return;
            }
            Err(SinkError::Unavailable { .. } | SinkError::Disconnected { .. }) => {
                // Once the server is back nobody listens any more.
                let _ = noticed.send(());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the database did not come back");
}

/// `crash` ends the server, and starts it again when the writer has noticed; batches are written without a pause.
async fn survives<S: Send + 'static>(
    kind: DatabaseKind,
    url: &str,
    crash: impl FnOnce(Receiver<()>) -> S + Send + 'static,
) {
    run_script(&url.parse().unwrap(), &fixture::schema(kind)).await.unwrap();
    let options = SinkOptions { acquire_timeout: Duration::from_secs(2), ..SinkOptions::default() };
    let sink = connect(&url.parse().unwrap(), options).await.unwrap();
    sink.ensure_ledger().await.unwrap();
    let recipe = fixture::companies(&json!({}));
    let (noticed, outage) = channel();
    let mut batches = 0;
    while batches < BEFORE {
        write_until_in(&*sink, &recipe, &batch(&recipe, batches), &noticed).await;
        batches += 1;
    }
    let crashing = tokio::task::spawn_blocking(move || crash(outage));
    while batches < 2 * BEFORE || !crashing.is_finished() {
        write_until_in(&*sink, &recipe, &batch(&recipe, batches), &noticed).await;
        batches += 1;
    }
    let _server = crashing.await.unwrap();
    for number in 0..batches {
        let outcomes = sink.write(&recipe, &batch(&recipe, number)).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{number}: {outcomes:?}");
    }
    let jobs = (batches * BATCH) as u64;
    let counts = [sink.count("company").await, sink.count("partner").await, sink.count("jobqueue_ledger").await];
    assert_eq!(counts.map(Result::unwrap), [jobs, 2 * jobs, jobs]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_crashes_and_comes_back() {
    let mut server = jobqueue_testkit::Postgres::start();
    let url = server.database();
    let crash = move |outage: Receiver<()>| {
        server.crash();
        outage.recv_timeout(NOTICED).expect("the writer notices that the server is away");
        server.revive();
        server
    };
    survives(DatabaseKind::Postgres, &url, crash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_crashes_and_comes_back() {
    let mut server = jobqueue_testkit::MariaDb::start();
    let url = server.database();
    let crash = move |outage: Receiver<()>| {
        server.crash();
        outage.recv_timeout(NOTICED).expect("the writer notices that the server is away");
        server.revive();
        server
    };
    survives(DatabaseKind::Mysql, &url, crash).await;
}
