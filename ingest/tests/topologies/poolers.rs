//! PgBouncer: each transaction may go over another connection, which many workers share.

use jobqueue_ingest::{DatabaseKind, Recipe, RowTree, Sink, SinkError, SinkOptions, Unit, connect, run_script};
use jobqueue_testkit::PgBouncer;
use serde_json::json;

use crate::{fixture, fresh, jobs, open};

/// Two workers with recipes of their own, whose statements are not the same, write at once over two connections.
async fn two_workers_write(url: &str) {
    let insert = fixture::companies(&json!({}));
    let update = fixture::companies(&json!({"onConflict": "Update", "key": ["reg_num"]}));
    let (one, two) = (open(url).await, open(url).await);
    one.ensure_ledger().await.unwrap();
    let write = async |sink: &dyn Sink, recipe: &Recipe, name: &str| {
        sink.validate(recipe).await.unwrap().unwrap();
        for number in 0..12 {
            let units = jobs(recipe, &format!("{name}{number}-"), 5);
            assert!(fresh(&sink.write(recipe, &units).await.unwrap()));
            assert!(!fresh(&sink.write(recipe, &units).await.unwrap()));
            sink.ping().await.unwrap();
            sink.probe().await.unwrap();
        }
    };
    tokio::join!(write(&*one, &insert, "a"), write(&*two, &update, "b"), write(&*two, &insert, "c"));
    assert_eq!(crate::counts(&*one).await, [180, 360, 180]);
    assert_eq!(one.prune_ledger(std::time::Duration::ZERO).await.unwrap(), 180);
}

async fn behind(pool_mode: &str) -> (PgBouncer, String) {
    let server = jobqueue_testkit::postgres();
    let direct = server.database();
    run_script(&direct.parse().unwrap(), &fixture::schema(DatabaseKind::Postgres)).await.unwrap();
    let pooler = PgBouncer::start(server, pool_mode);
    let url = pooler.url(&direct);
    (pooler, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_pooled() {
    let (pooler, url) = behind("transaction").await;
    two_workers_write(&url).await;
    // Nothing of a worker's settings stays with the connections.
    let name = url.rsplit('/').next().unwrap();
    let server = jobqueue_testkit::postgres();
    for setting in ["lock_timeout", "idle_in_transaction_session_timeout"] {
        for _ in 0..4 {
            assert_eq!(server.sql(&url, &format!("SHOW {setting}")), "0", "{name}: {setting}\n{}", pooler.log());
        }
    }
}

/// Two workers with zones of their own, over the same connections: each writes in its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_worker_keeps_its_time_zone() {
    let (_pooler, url) = behind("transaction").await;
    let parsed = url.parse().unwrap();
    run_script(
        &parsed,
        "CREATE TABLE clock (label text, made timestamp DEFAULT now(), since timestamptz DEFAULT now())",
    )
    .await
    .unwrap();
    let recipe = fixture::recipe(&json!([{"table": "clock", "columns": {"label": "record.l"}}]));
    let options = |zone: &str| SinkOptions { time_zone: Some(zone.parse().unwrap()), ..SinkOptions::default() };
    let ahead = connect(&parsed, options("+08:00")).await.unwrap();
    let behind = connect(&parsed, options("America/Lima")).await.unwrap();
    ahead.ensure_ledger().await.unwrap();
    for number in 0..6 {
        for (label, sink) in [("ahead", &ahead), ("behind", &behind)] {
            let row = fixture::row(&recipe, 0, &[("label", fixture::text(label))], Vec::new());
            let unit = Unit { key: fixture::key(&format!("{label}{number}")), rows: RowTree { rows: vec![row] } };
            assert!(fresh(&sink.write(&recipe, &[unit]).await.unwrap()));
        }
    }
    let hours = "SELECT DISTINCT label, round(extract(epoch FROM made - (since AT TIME ZONE 'UTC')) / 3600)::int FROM clock ORDER BY 1";
    assert_eq!(jobqueue_testkit::postgres().sql(&url, hours), "ahead|8\nbehind|-5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_pooled() {
    let (_pooler, url) = behind("session").await;
    two_workers_write(&url).await;
}

/// Without transactions there is no ledger to trust.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_without_transactions_is_refused() {
    let (_pooler, url) = behind("statement").await;
    let sink = connect(&url.parse().unwrap(), SinkOptions::default()).await.unwrap();
    let error = sink.ensure_ledger().await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("statement pooling mode"), "{error}");
}
