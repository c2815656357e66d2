//! The servers come up, answer, survive a crash with their data, and are gone afterwards.

use jobqueue_testkit::{MariaDb, Postgres, Redis};

#[test]
fn redis_keeps_its_data_over_a_crash() {
    let mut redis = Redis::start(&[]);
    assert_eq!(redis.cli(&["SET", "key", "value"]), "OK");
    redis.kill();
    redis.revive();
    assert_eq!(redis.cli(&["GET", "key"]), "value");
}

#[test]
fn postgres_keeps_its_data_over_a_crash() {
    let mut postgres = Postgres::start();
    let url = postgres.database();
    postgres.sql(&url, "CREATE TABLE t (x int); INSERT INTO t VALUES (7)");
    postgres.crash();
    postgres.revive();
    assert_eq!(postgres.sql(&url, "SELECT x FROM t"), "7");
}

#[test]
fn mariadb_keeps_its_data_over_a_crash() {
    let mut mariadb = MariaDb::start();
    let url = mariadb.database();
    mariadb.sql(&url, "CREATE TABLE t (x int); INSERT INTO t VALUES (7)");
    mariadb.crash();
    mariadb.revive();
    assert_eq!(mariadb.sql(&url, "SELECT x FROM t"), "7");
}
