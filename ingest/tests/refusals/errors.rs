//! Every error, raised for one record.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use jobqueue_ingest::SinkOptions;
use serde_json::json;

use crate::{
    RAISE_IN_MARIADB, RAISE_IN_POSTGRES, batch,
    fixture::{Database, applied, companies, company_as, rejected},
    refused,
    sqlstates::SQLSTATES,
    tag, tags,
};

/// So many batches at once: a pool is shared, and trials run beside the writes of others.
const AT_ONCE: usize = 4;

/// Conditions that say whose fault they are: the data's.
const OF_THE_DATA: &[&str] = &["22", "23", "44", "P0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sqlstate_fails_one_job() {
    let db = Database::postgres().await;
    db.run(RAISE_IN_POSTGRES).await;
    let recipe = tags();
    let written = stream::iter(SQLSTATES.split_whitespace()).map(async |state| {
        let (words, may_pass) = refused(&*db.sink, &recipe, &format!("!{state}")).await;
        assert!(words.starts_with(&format!("tag: not !{state}: in detail")), "{words}");
        assert!(words.contains("PL/pgSQL function refuse()"), "{words}");
        // Success cannot be raised.
        let raised = if state == "00000" { "P0001" } else { state };
        assert!(words.ends_with(&format!("(SQLSTATE {raised})")), "{words}");
        if OF_THE_DATA.contains(&&state[..2]) && state != "23503" {
            assert!(!may_pass, "{words}");
        }
        for open in ["42501", "42P01", "53100", "57P01", "XX000", "40001", "25006", "28000", "08006"] {
            assert!(may_pass || state != open, "{words}");
        }
    });
    let states = written.buffer_unordered(AT_ONCE).count().await;
    assert_eq!(states, SQLSTATES.split_whitespace().count());
    assert_eq!(db.rows("SELECT count(*) FROM tag").await, [(99 * states).to_string()]);
}

/// What MariaDB refuses to signal comes as another error, which fails the one job too. Returns how many those were.
async fn signals(numbers: impl Iterator<Item = u32>) -> usize {
    let db = Database::mariadb().await;
    db.run(RAISE_IN_MARIADB).await;
    let recipe = tags();
    let written = stream::iter(numbers).map(async |number| {
        let (words, _) = refused(&*db.sink, &recipe, &format!("!{number}")).await;
        assert!(words.starts_with("tag: "), "{words}");
        usize::from(!(words.contains("not !") && words.ends_with(&format!("(error {number})"))))
    });
    let others: Vec<usize> = written.buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(db.rows("SELECT count(*) FROM tag").await, [(99 * others.len()).to_string()]);
    others.iter().sum()
}

/// Those that mean the server's trouble when the server says them, and some of the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_mariadb_fail_one_job() {
    let of_the_server = [
        3, 28, 1020, 1021, 1026, 1030, 1037, 1038, 1040, 1041, 1044, 1045, 1047, 1049, 1053, 1054, 1062, 1080, 1114,
        1142, 1143, 1146, 1152, 1158, 1180, 1203, 1205, 1213, 1226, 1227, 1290, 1317, 1370, 1452, 1461, 1615, 1698,
        1792, 1836, 1927, 1969, 3024, 4031,
    ];
    let some = (1000..2000).step_by(50).chain((3000..4200).step_by(200));
    assert_eq!(signals(of_the_server.into_iter().chain(some)).await, 0);
}

/// All of them, 1,450: that takes time, so that `./dev prove` runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "its size is for ./dev prove"]
async fn every_error_of_mariadb_fails_one_job() {
    assert_eq!(signals((1000..2000).chain(3000..3200).chain(4000..4250)).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_trigger_of_sqlite_does_fails_one_job() {
    let db = Database::sqlite().await;
    for way in ["ABORT", "FAIL", "ROLLBACK"] {
        db.run(&format!(
            "CREATE TRIGGER refuse_{way} BEFORE INSERT ON tag WHEN NEW.label = '!{way}' \
             BEGIN SELECT RAISE({way}, 'not !{way}'); END"
        ))
        .await;
    }
    // An error of the statement itself, for one record.
    db.run("CREATE TRIGGER refuse BEFORE INSERT ON tag WHEN NEW.label = '!json' BEGIN SELECT json_extract('{', '$.a'); END")
        .await;
    let recipe = tags();
    for way in ["ABORT", "FAIL", "ROLLBACK"] {
        let (words, may_pass) = refused(&*db.sink, &recipe, &format!("!{way}")).await;
        assert_eq!((words.as_str(), may_pass), (format!("tag: not !{way} (code 1811)").as_str(), false));
    }
    let (words, may_pass) = refused(&*db.sink, &recipe, "!json").await;
    assert_eq!((words.as_str(), may_pass), ("tag: malformed JSON (code 1)", true));
    assert_eq!(db.rows("SELECT count(*) FROM tag").await, ["396"]);
}

/// The trigger's own will: the row is left out, and the job is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_a_trigger_leaves_out_fails_no_job() {
    let db = Database::sqlite().await;
    db.run("CREATE TRIGGER leave BEFORE INSERT ON tag WHEN NEW.label = '!' BEGIN SELECT RAISE(IGNORE); END").await;
    let recipe = tags();
    let outcomes = db.sink.write(&recipe, &batch(&recipe, "!")).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == applied(1)), "{outcomes:?}");
    assert_eq!(db.rows("SELECT count(*) FROM tag").await, ["99"]);
}

/// With one connection, and behind each way of writing: ids drawn first, row by row, by key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_of_writing_finds_the_one() {
    let options = SinkOptions { max_connections: 1, ..SinkOptions::default() };
    for (db, raise) in [
        (
            Database::postgres().await,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF new.name = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = '57P01'; END IF; RETURN new; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON company FOR EACH ROW EXECUTE FUNCTION refuse()",
        ),
        (
            Database::mariadb().await,
            "CREATE TRIGGER refuse BEFORE INSERT ON company FOR EACH ROW \
             IF NEW.name = 'bad' THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1053, MESSAGE_TEXT = 'no'; END IF",
        ),
    ] {
        db.run(raise).await;
        let sink = db.second_sink(options.clone()).await;
        for policy in [json!({}), json!({"onConflict": "Ignore"}), json!({"onConflict": "Update", "key": ["reg_num"]})]
        {
            let recipe = companies(&policy);
            let mark = policy.to_string().len();
            let unit = |n: usize| {
                let (name, job) = (if n == 3 { "bad".into() } else { format!("c{n}") }, format!("{n}-{mark}"));
                company_as(&recipe, &job, &job, &name, 2)
            };
            let units: Vec<_> = (0..8).map(unit).collect();
            let outcomes = sink.write(&recipe, &units).await.unwrap();
            let applied = outcomes.iter().filter(|outcome| **outcome == applied(3)).count();
            assert_eq!(applied, 7, "{policy}: {outcomes:?}");
            let (words, may_pass) = rejected(&outcomes[3]);
            assert!(words.starts_with("company: no") && may_pass, "{words}");
        }
    }
}

/// The server ends it, in the batch and alone. Without that its transaction would go on for itself, and hold its locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_takes_too_long_fails_alone() {
    let options = SinkOptions { answer_timeout: Duration::from_secs(2), ..SinkOptions::default() };
    for (db, sleep) in [
        (
            Database::postgres().await,
            "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF new.label = 'slow' THEN PERFORM pg_sleep(600); END IF; RETURN new; END $$; \
             CREATE TRIGGER nap BEFORE INSERT ON tag FOR EACH ROW EXECUTE FUNCTION nap()",
        ),
        (
            Database::mariadb().await,
            "CREATE TRIGGER nap BEFORE INSERT ON tag FOR EACH ROW IF NEW.label = 'slow' THEN SET NEW.weight = SLEEP(600); END IF",
        ),
    ] {
        db.run(sleep).await;
        let recipe = tags();
        let sink = db.second_sink(options.clone()).await;
        let units: Vec<_> = ["a", "b", "slow", "d"].map(|label| tag(&recipe, label)).into();
        let outcomes = sink.write(&recipe, &units).await.unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == applied(1)).count(), 3, "{outcomes:?}");
        let (words, may_pass) = rejected(&outcomes[2]);
        assert!(words.starts_with("tag: ") && may_pass, "{words}");
    }
}
