//! Databases as others run them: with standbys that take over, read-only for a while, behind a pooler, on a full disk.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "topologies/disks.rs"]
mod disks;
#[path = "conformance/fixture.rs"]
#[expect(dead_code, reason = "shared with the conformance suite, which uses the rest")]
mod fixture;
#[path = "topologies/password_files.rs"]
mod password_files;
#[path = "topologies/poolers.rs"]
mod poolers;
#[path = "topologies/read_only.rs"]
mod read_only;
#[path = "topologies/standbys.rs"]
mod standbys;

use std::time::Duration;

use jobqueue_ingest::{Recipe, Sink, SinkError, SinkOptions, Unit, UnitOutcome, connect};

/// Companies with two partners each, as jobs `name0`, `name1`, and so on.
fn jobs(recipe: &Recipe, name: &str, count: usize) -> Vec<Unit> {
    (0..count).map(|number| fixture::company(recipe, &format!("{name}{number}"), 2)).collect()
}

async fn open(url: &str) -> Box<dyn Sink> {
    let options = SinkOptions { acquire_timeout: Duration::from_secs(2), ..SinkOptions::default() };
    connect(&url.parse().unwrap(), options).await.unwrap()
}

/// Companies, partners, ledger entries.
async fn counts(sink: &dyn Sink) -> [u64; 3] {
    let counts = [sink.count("company").await, sink.count("partner").await, sink.count("jobqueue_ledger").await];
    counts.map(Result::unwrap)
}

/// All were written now, or all were there: which of the two.
fn fresh(outcomes: &[UnitOutcome]) -> bool {
    let fresh = |outcome: &UnitOutcome| match outcome {
        UnitOutcome::Applied { .. } => true,
        UnitOutcome::AlreadyApplied => false,
        UnitOutcome::Rejected(_) => panic!("a job is held responsible: {outcomes:?}"),
    };
    let first = fresh(&outcomes[0]);
    assert!(outcomes.iter().all(|outcome| fresh(outcome) == first), "{outcomes:?}");
    first
}

/// What a worker does: the same batch again until it is in. Whether it was new then.
async fn write_until_in(sink: &dyn Sink, recipe: &Recipe, units: &[Unit]) -> bool {
    for _ in 0..1_000 {
        match sink.write(recipe, units).await {
            Ok(outcomes) => return fresh(&outcomes),
            Err(SinkError::Config(words)) => panic!("{words}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("no server takes the batch");
}

/// The words of a database that takes no writes.
async fn refusal(sink: &dyn Sink, recipe: &Recipe, units: &[Unit]) -> String {
    match sink.write(recipe, units).await {
        Err(error @ SinkError::Unwritable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}
