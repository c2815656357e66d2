//! A disk that is full: no job fails, nothing is half there, and work goes on when there is room.

use jobqueue_ingest::{DatabaseKind, Sink, run_script};
use jobqueue_testkit::SmallDisk;
use serde_json::json;

use crate::{counts, fixture, fresh, jobs, open, refusal};

/// Batches until the disk is full, twice more, and again when there is room.
async fn fills_up(sink: &dyn Sink, disk: &SmallDisk) {
    let recipe = fixture::companies(&json!({}));
    assert!(fresh(&sink.write(&recipe, &jobs(&recipe, "before", 10)).await.unwrap()));
    disk.fill();
    let mut written = 10;
    // The tables have some room inside.
    let units = loop {
        let units = jobs(&recipe, &format!("b{written}-"), 500);
        match sink.write(&recipe, &units).await {
            Ok(outcomes) => assert!(fresh(&outcomes)),
            Err(_) => break units,
        }
        written += 500;
        assert!(written < 100_000, "the disk does not get full");
    };
    for _ in 0..2 {
        let words = refusal(sink, &recipe, &units).await;
        assert!(words.contains("takes no writes: it has no room left ("), "{words}");
    }
    assert_eq!(counts(sink).await, [written, 2 * written, written]);
    disk.make_room();
    assert!(fresh(&sink.write(&recipe, &units).await.unwrap()));
    written += 500;
    assert_eq!(counts(sink).await, [written, 2 * written, written]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_sqlite() {
    let Some(disk) = SmallDisk::new(8, "root") else { return };
    let url = format!("sqlite:{}/rows.sqlite", disk.path().display());
    run_script(&url.parse().unwrap(), &fixture::schema(DatabaseKind::Sqlite)).await.unwrap();
    let sink = open(&url).await;
    sink.ensure_ledger().await.unwrap();
    fills_up(&*sink, &disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_postgres() {
    let Some(disk) = SmallDisk::new(8, "postgres") else { return };
    let server = jobqueue_testkit::postgres();
    let (url, space) = (server.database(), jobqueue_testkit::unique("space"));
    server.sql("postgres", &format!("CREATE TABLESPACE {space} LOCATION '{}'", disk.path().display()));
    let name = url.rsplit('/').next().unwrap();
    server.sql("postgres", &format!("ALTER DATABASE {name} SET default_tablespace = {space}"));
    run_script(&url.parse().unwrap(), &fixture::schema(DatabaseKind::Postgres)).await.unwrap();
    let sink = open(&url).await;
    sink.ensure_ledger().await.unwrap();
    fills_up(&*sink, &disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_mariadb() {
    let Some(disk) = SmallDisk::new(8, "mysql") else { return };
    let server = jobqueue_testkit::mariadb();
    let url = server.database();
    let directory = format!(") DATA DIRECTORY = '{}';", disk.path().display());
    let schema = fixture::schema(DatabaseKind::Mysql).replace(");", &directory);
    run_script(&url.parse().unwrap(), &schema).await.unwrap();
    let sink = open(&url).await;
    sink.ensure_ledger().await.unwrap();
    fills_up(&*sink, &disk).await;
}
