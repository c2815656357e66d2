//! A primary that is lost, and its standby that takes over: what was acknowledged, and what of it is there. How workers
//! live through it is in `worker/tests/process/life.rs`.

use std::time::Duration;

use jobqueue_ingest::{Sink, SinkError, SinkOptions, UnitOutcome, connect, run_script};
use jobqueue_testkit::{Postgres, until};
use serde_json::json;

use crate::{counts, fixture, jobs, open, write_until_in};

/// A primary with the suite's tables, its standby, and a URL of both. The standby is named first: it is to be passed over.
async fn pair() -> (Postgres, Postgres, String) {
    let primary = Postgres::start();
    let url = primary.database();
    run_script(&url.parse().unwrap(), &fixture::schema(jobqueue_ingest::DatabaseKind::Postgres)).await.unwrap();
    let standby = primary.standby();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}/", standby.port(), primary.port());
    let both = url.replace(&format!("127.0.0.1:{}/", primary.port()), &hosts) + "?target_session_attrs=read-write";
    (primary, standby, both)
}

/// Asynchronous replication: what had not reached the standby is lost, rows and ledger entries together, so that the
/// same jobs can be enqueued again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_asynchronous_standby_lacks_it_lacks_whole() {
    let (mut primary, mut standby, url) = pair().await;
    let recipe = fixture::companies(&json!({}));
    let sink = open(&url).await;
    sink.ensure_ledger().await.unwrap();
    let (early, late) = (jobs(&recipe, "early", 50), jobs(&recipe, "late", 50));
    write_until_in(&*sink, &recipe, &early).await;
    let arrived = "SELECT count(*) FROM jobqueue_ledger";
    let database = standby.url(url.rsplit('/').next().unwrap().split('?').next().unwrap());
    let present = "SELECT to_regclass('jobqueue_ledger') IS NOT NULL";
    until("the standby has the ledger", Duration::from_secs(30), || standby.sql(&database, present) == "t");
    until("the standby has the first batch", Duration::from_secs(30), || standby.sql(&database, arrived) == "50");
    standby.crash();
    assert!(write_until_in(&*sink, &recipe, &late).await, "acknowledged");
    primary.crash();
    standby.revive();
    standby.promote();
    assert!(!write_until_in(&*sink, &recipe, &early).await, "the standby has the first batch");
    assert_eq!(counts(&*sink).await, [50, 100, 50], "of the second nothing is left, its ledger entries neither");
    assert!(write_until_in(&*sink, &recipe, &late).await, "it can be applied anew");
    assert_eq!(counts(&*sink).await, [100, 200, 100]);
}

/// The wait for the standby is cut off: PostgreSQL has committed on the primary alone, where the next attempt finds the
/// ledger entry. That is no reason to acknowledge what the standby does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_in_the_ledger_counts_when_the_standby_has_it() {
    let (primary, mut standby, url) = pair().await;
    primary.replicate_synchronously();
    let options = SinkOptions { answer_timeout: Duration::from_secs(2), ..SinkOptions::default() };
    let sink: Box<dyn Sink> = connect(&url.parse().unwrap(), options).await.unwrap();
    sink.ensure_ledger().await.unwrap();
    let recipe = fixture::companies(&json!({}));
    let units = jobs(&recipe, "j", 5);
    sink.validate(&recipe).await.unwrap().unwrap();
    standby.crash();
    // The wait for the standby is cut off as soon as there is one.
    let cut = tokio::task::spawn_blocking(move || {
        let waiting =
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'";
        let waits = || !primary.sql("postgres", waiting).is_empty();
        until("the commit waits for the standby", Duration::from_secs(10), waits);
        primary.sql("postgres", &format!("SELECT pg_terminate_backend(pid) FROM ({waiting}) AS waiting"));
        primary
    });
    let written = sink.write(&recipe, &units).await;
    let _primary = cut.await.unwrap();
    written.unwrap_err();
    let error = sink.write(&recipe, &units).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    standby.revive();
    let outcomes = sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{outcomes:?}");
    assert_eq!(counts(&*sink).await, [5, 10, 5]);
}
