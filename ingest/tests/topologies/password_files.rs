//! A password in a file that is renewed while jobs are written, as the token of a cloud's identity is.

use jobqueue_ingest::{DatabaseKind, DatabaseUrl, SinkError, SinkOptions, connect, run_script};
use jobqueue_testkit::MariaDb;
use serde_json::json;

use super::{counts, fixture, jobs, write_until_in};

#[tokio::test]
async fn new_connections_use_the_password_that_the_file_has_then() {
    let server = MariaDb::start();
    let admin = server.database();
    let database = admin.rsplit('/').next().unwrap();
    run_script(&admin.parse().unwrap(), &fixture::schema(DatabaseKind::Mysql)).await.unwrap();
    server.sql(database, "CREATE USER token@'%' IDENTIFIED BY 'one'; GRANT ALL ON *.* TO token@'%'");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let url: DatabaseUrl = format!("mysql://token@127.0.0.1:{}/{database}", server.port()).parse().unwrap();
    let url = url.with_password_file(&file).unwrap();
    let Err(missing @ SinkError::Unavailable { .. }) = connect(&url, SinkOptions::default()).await else { panic!() };
    let missing = missing.to_string();
    assert!(missing.contains("the password file") && missing.contains("No such file"), "{missing}");

    std::fs::write(&file, "one\n").unwrap();
    let sink = connect(&url, SinkOptions::default()).await.unwrap();
    sink.ensure_ledger().await.unwrap();
    let recipe = fixture::companies(&json!({}));
    assert!(write_until_in(&*sink, &recipe, &jobs(&recipe, "a", 5)).await);

    server.sql(database, "ALTER USER token@'%' IDENTIFIED BY 'two'; KILL USER token");
    let later = jobs(&recipe, "b", 5);
    assert!(sink.write(&recipe, &later).await.is_err(), "the old one is refused");
    std::fs::write(&file, "two\n").unwrap();
    assert!(write_until_in(&*sink, &recipe, &later).await);
    assert_eq!(counts(&*sink).await, [10, 20, 10]);
}

#[test]
fn one_password_is_enough() {
    let refused = |url: &str| {
        let url: DatabaseUrl = url.parse().unwrap();
        url.with_password_file("/run/token".as_ref()).unwrap_err().to_string()
    };
    assert!(refused("postgres://u:s3cret@db/a").contains("remove one of them"));
    assert!(refused("postgres://u@db/a?password=s3cret").contains("remove one of them"));
    assert!(refused("sqlite:a.sqlite").contains("no password"));
}
