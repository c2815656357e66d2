//! The real binary from start to end: exit codes, a drain on SIGTERM, servers that are not there yet, or go away and
//! come back while it works.

use crate::fixture::{Fixture, Process, Rows};
use jobqueue_testkit::{Postgres, SmallDisk, free_port};

fn check(fixture: &Fixture, redis: &str, database: &str) -> (Option<i32>, String) {
    Process::start(&fixture.config(), redis, database, &["--check"]).end()
}

#[test]
fn check_tells_by_its_exit_code_what_is_wrong() {
    let fixture = Fixture::new(Rows::sqlite());
    let (redis, database) = (fixture.redis.url(), fixture.rows.url());
    let (code, log) = check(&fixture, &redis, &database);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(fixture.redis.cli(&["DBSIZE"]).trim(), "0", "a check leaves nothing behind");

    let nobody = format!("redis://:sesame@127.0.0.1:{}", free_port());
    let (code, log) = check(&fixture, &nobody, &database);
    assert_eq!(code, Some(69), "{log}");
    assert!(!log.contains("sesame"), "a password in the log: {log}");

    fixture.rows.sql("DROP TABLE child; ALTER TABLE parent RENAME COLUMN name TO title;");
    let (code, log) = check(&fixture, &redis, &database);
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("child") && log.contains("name"), "both problems at once: {log}");

    std::fs::write(fixture.config(), "queue: {naems: [a]}\ningest: []\n").unwrap();
    let (code, log) = check(&fixture, &redis, &database);
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("did you mean `names`?"), "{log}");
}

#[test]
fn a_config_of_another_version_is_read_or_refused() {
    let fixture = Fixture::new(Rows::sqlite());
    let text = std::fs::read_to_string(fixture.config()).unwrap();
    std::fs::write(fixture.config(), text.replacen('{', r#"{"later": {"a": 1}, "#, 1)).unwrap();
    let check = |version: &[&str]| {
        let arguments = [&["--check"], version].concat();
        Process::start(&fixture.config(), &fixture.redis.url(), &fixture.rows.url(), &arguments).end()
    };
    let (code, log) = check(&[]);
    assert!(code == Some(78) && log.contains("unknown field `later`"), "by hand: {code:?} {log}");
    let (code, log) = check(&["--config-version=1"]);
    assert!(code == Some(0) && log.contains("later") && log.contains("does not know the field"), "{code:?} {log}");
    let (code, log) = check(&["--config-version=2"]);
    assert!(code == Some(78) && log.contains("use a newer worker image"), "{code:?} {log}");
}

#[test]
fn a_recipe_that_does_not_fit_ends_the_start() {
    let fixture = Fixture::new(Rows::sqlite());
    fixture.rows.sql("DROP TABLE child;");
    let (code, log) = fixture.start().end();
    assert_eq!(code, Some(78), "{log}");
}

#[test]
fn a_term_signal_leaves_nothing_in_hand_and_no_trace_of_the_worker() {
    let fixture = Fixture::new(Rows::sqlite());
    fixture.enqueue(2000, 0);
    let mut worker = fixture.start();
    worker.wait_for("written");
    worker.terminate();
    assert_eq!(fixture.size("ZCARD", "rq:wip:people"), 0, "nothing is left running");
    assert_eq!(fixture.size("SCARD", "rq:workers"), 0, "the worker is no longer listed");
    let (done, waiting) = (fixture.size("ZCARD", "rq:finished:people"), fixture.size("LLEN", "rq:queue:people"));
    assert_eq!(done + waiting, 2000);
    let mut rest = [fixture.start()];
    fixture.until_done(2000, &mut rest);
    fixture.check(2000, 0);
}

#[test]
fn a_database_that_is_not_there_yet_is_waited_for() {
    let mut server = Postgres::start();
    let fixture = Fixture::new(Rows::on(&server));
    let spoiled = fixture.enqueue(300, 50);
    server.crash();
    let mut worker = fixture.start();
    let line = worker.wait_for("not possible yet");
    assert!(line.contains("check that the database runs at this address"), "{line}");
    server.revive();
    let mut workers = [worker];
    fixture.until_done(300, &mut workers);
    fixture.check(300, spoiled);
}

#[test]
fn servers_that_restart_cost_no_job() {
    let mut server = Postgres::start();
    let mut fixture = Fixture::new(Rows::on(&server));
    let spoiled = fixture.enqueue(4000, 50);
    let mut workers = [fixture.start(), fixture.start()];
    workers[0].wait_for("written");
    server.crash();
    workers[0].wait_for("the database is away");
    server.revive();
    workers[0].wait_for("the database is back");
    fixture.redis.kill();
    workers[0].wait_for("Redis is away");
    fixture.redis.revive();
    fixture.until_done(4000, &mut workers);
    for worker in workers {
        worker.terminate();
    }
    fixture.check(4000, spoiled);
}

#[test]
fn a_worker_for_so_many_jobs_or_so_long_a_rest_ends_by_itself() {
    let fixture = Fixture::new(Rows::sqlite());
    fixture.enqueue(100, 0);
    let start = |more: &[&str]| Process::start(&fixture.config(), &fixture.redis.url(), &fixture.rows.url(), more);
    let (code, log) = start(&["--max-jobs", "70"]).end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!((fixture.size("ZCARD", "rq:finished:people"), fixture.size("LLEN", "rq:queue:people")), (70, 30));
    let (code, log) = start(&["--max-idle-seconds", "1"]).end();
    assert_eq!(code, Some(0), "{log}");
    fixture.check(100, 0);
    assert_eq!(fixture.size("SCARD", "rq:workers"), 0);
}

#[test]
fn a_standby_that_takes_over_costs_no_job() {
    let mut primary = Postgres::start();
    let rows = Rows::on(&primary);
    let standby = primary.standby();
    primary.replicate_synchronously();
    let fixture = Fixture::new(rows.through(&primary, &standby));
    let spoiled = fixture.enqueue(4000, 50);
    let mut workers = [fixture.start(), fixture.start()];
    workers[0].wait_for("written");
    primary.crash();
    workers[0].wait_for("the database is away");
    standby.promote();
    workers[0].wait_for("the database is back");
    fixture.until_done(4000, &mut workers);
    for worker in workers {
        worker.terminate();
    }
    fixture.check(4000, spoiled);
}

#[test]
fn a_full_disk_costs_no_job() {
    // So small that the write-ahead log alone would fill it.
    let Some(disk) = SmallDisk::new(4, "root") else { return };
    let fixture = Fixture::new(Rows::sqlite_in(disk.path()));
    let mut worker = fixture.start();
    worker.wait_for("at work");
    disk.fill();
    let spoiled = fixture.enqueue(4000, 50);
    let words = worker.wait_for("the database is away");
    assert!(words.contains("takes no writes: it has no room left"), "{words}");
    assert!(fixture.size("ZCARD", "rq:failed:people") <= spoiled, "jobs failed for want of room");
    disk.make_room();
    worker.wait_for("the database is back");
    let mut workers = [worker];
    fixture.until_done(4000, &mut workers);
    fixture.check(4000, spoiled);
}
