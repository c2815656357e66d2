//! Connections that end at the worst moment, locks that are held too long, and a commit whose answer never comes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use jobqueue_ingest::{DatabaseKind, RowTree, Sink, SinkError, SinkOptions, Unit, UnitOutcome, connect};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection, SqliteConnection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::fixture::{Database, applied, companies, company, company_as, key, recipe, rejected, row, text};

/// A transaction of somebody else that keeps everybody from writing partners.
enum Blocker {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Blocker {
    async fn new(db: &Database) -> Self {
        match db.kind {
            DatabaseKind::Postgres => {
                let mut connection = PgConnection::connect(&db.url).await.unwrap();
                connection.execute("BEGIN").await.unwrap();
                connection.execute("LOCK TABLE partner IN ACCESS EXCLUSIVE MODE").await.unwrap();
                Self::Postgres(connection)
            }
            DatabaseKind::Mysql => {
                let mut connection = MySqlConnection::connect(&db.url).await.unwrap();
                connection.execute(sqlx::raw_sql("BEGIN; SELECT * FROM partner FOR UPDATE")).await.unwrap();
                Self::Mysql(connection)
            }
            DatabaseKind::Sqlite => {
                let mut connection = SqliteConnection::connect(&db.url).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                Self::Sqlite(connection)
            }
        }
    }

    async fn end(self) {
        match self {
            Self::Postgres(connection) => connection.close().await.unwrap(),
            Self::Mysql(connection) => connection.close().await.unwrap(),
            Self::Sqlite(connection) => connection.close().await.unwrap(),
        }
    }
}

/// Ends the server's side of the connection that waits to write partners, as soon as there is one.
async fn kill_the_waiting(db: &Database) {
    for _ in 0..100 {
        let killed = if db.kind == DatabaseKind::Postgres {
            db.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE wait_event_type = 'Lock' AND datname = current_database()",
            )
            .await
        } else {
            let waiting = db
                .rows(
                    "SELECT p.id FROM information_schema.innodb_trx t \
                     JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
                     WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()",
                )
                .await;
            if let Some(id) = waiting.first() {
                db.rows(&format!("KILL {id}")).await;
            }
            waiting
        };
        if !killed.is_empty() {
            return;
        }
        // InnoDB's view of its transactions is refreshed only after 0.1 s in which nobody has read it.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    panic!("nobody waits for the lock");
}

pub(crate) async fn a_connection_killed_inside_the_transaction_leaves_nothing(db: Database) {
    if db.kind == DatabaseKind::Sqlite {
        // There is no server that could end a connection.
        return;
    }
    let recipe = companies(&json!({}));
    let units: Vec<Unit> = (0..50).map(|n| company(&recipe, &format!("c{n}"), 2)).collect();
    let blocker = Blocker::new(&db).await;
    let (written, ()) = tokio::join!(db.sink.write(&recipe, &units), kill_the_waiting(&db));
    let error = written.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. } | SinkError::Disconnected { .. }), "{error}");
    blocker.end().await;
    assert_eq!(db.counts().await, [0, 0, 0]);
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == applied(3)), "{outcomes:?}");
    assert_eq!(db.counts().await, [50, 100, 50]);
}

pub(crate) async fn a_lock_held_too_long_is_no_fault_of_the_record(db: Database) {
    let options =
        SinkOptions { lock_timeout: Duration::from_millis(200), contention_attempts: 2, ..SinkOptions::default() };
    let impatient = db.second_sink(options).await;
    let recipe = companies(&json!({}));
    let units = [company(&recipe, "a", 1), company(&recipe, "childless", 0)];
    // The schema is known by then, as it is in a worker.
    impatient.write(&recipe, &[company(&recipe, "before", 0)]).await.unwrap();
    let blocker = Blocker::new(&db).await;
    let written = impatient.write(&recipe, &units).await;
    if db.kind == DatabaseKind::Sqlite {
        // The whole file is locked, which is nobody's fault in particular.
        assert!(matches!(written, Err(SinkError::Unavailable { .. })), "{written:?}");
    } else {
        let outcomes = written.unwrap();
        let (message, may_pass) = rejected(&outcomes[0]);
        assert!(may_pass && message.starts_with("partner"), "{message}");
        assert_eq!(outcomes[1], applied(1), "the others go on");
    }
    blocker.end().await;
    impatient.write(&recipe, &units).await.unwrap();
    assert_eq!(db.counts().await, [3, 1, 3]);
}

/// What the proxy does to the connections through it.
const PASS: u8 = 0;
/// A COMMIT arrives, its answer is swallowed, and the connection ends.
const SWALLOW_COMMIT: u8 = 1;
/// Nothing arrives any more, in neither direction, and nobody is told.
const SILENT: u8 = 2;
/// Whoever sends the word gets no answer, and the connection ends.
const CUT_POISON: u8 = 3;
/// The connection ends at the first byte.
const HANG_UP: u8 = 4;
/// A COMMIT arrives, and from then on nothing does, in neither direction; nobody is told.
const HALF_OPEN: u8 = 5;
/// The same for whoever sends the word.
const HALF_OPEN_AT_POISON: u8 = 6;
/// What is sent arrives at a megabyte a second.
const SLOW: u8 = 7;

async fn proxy(server: u16, mode: Arc<AtomicU8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            tokio::spawn(relay(client, server, mode.clone()));
        }
    });
    port
}

async fn relay(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (mut committing, mut vanishing) = (false, false);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let commit = from_client[..length].windows(6).any(|word| word == b"COMMIT");
                if silent(&mode).await { return }
                let poison = || from_client[..length].windows(6).any(|word| word == b"poison");
                match mode.load(Ordering::SeqCst) {
                    CUT_POISON if poison() => return,
                    HANG_UP => return,
                    HALF_OPEN_AT_POISON => vanishing = poison(),
                    SLOW => tokio::time::sleep(Duration::from_micros(u64::try_from(length).unwrap())).await,
                    _ => {}
                }
                committing = commit && matches!(mode.load(Ordering::SeqCst), SWALLOW_COMMIT | HALF_OPEN);
                if server.write_all(&from_client[..length]).await.is_err() { return }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                // The server has answered, so that it has committed.
                if vanishing || committing && mode.load(Ordering::SeqCst) == HALF_OPEN {
                    mode.store(SILENT, Ordering::SeqCst);
                }
                if silent(&mode).await || committing { return }
                if client.write_all(&from_server[..length]).await.is_err() { return }
            }
        }
    }
}

/// While the network is silent, waits; then the connection is of no use any more.
async fn silent(mode: &AtomicU8) -> bool {
    let was_silent = mode.load(Ordering::SeqCst) == SILENT;
    while mode.load(Ordering::SeqCst) == SILENT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    was_silent
}

/// A sink behind a proxy; `None` for SQLite, whose commits are calls and not messages.
async fn through_proxy(db: &Database, options: SinkOptions) -> Option<(Box<dyn Sink>, Arc<AtomicU8>)> {
    let (port, off) = match db.kind {
        DatabaseKind::Postgres => (jobqueue_testkit::postgres().port(), "?sslmode=disable"),
        DatabaseKind::Mysql => (jobqueue_testkit::mariadb().port(), "?ssl-mode=DISABLED"),
        DatabaseKind::Sqlite => return None,
    };
    let mode = Arc::new(AtomicU8::new(PASS));
    let through = proxy(port, mode.clone()).await;
    let url = db.url.replace(&format!(":{port}/"), &format!(":{through}/")) + off;
    Some((connect(&url.parse().unwrap(), options).await.unwrap(), mode))
}

pub(crate) async fn a_silent_network_is_an_absent_database(db: Database) {
    let options = SinkOptions { answer_timeout: Duration::from_secs(1), ..SinkOptions::default() };
    let Some((sink, mode)) = through_proxy(&db, options).await else { return };
    let recipe = companies(&json!({}));
    let units: Vec<Unit> = (0..10).map(|n| company(&recipe, &format!("c{n}"), 2)).collect();
    sink.write(&recipe, &units[..1]).await.unwrap();
    mode.store(SILENT, Ordering::SeqCst);
    let written = tokio::time::timeout(Duration::from_secs(30), sink.write(&recipe, &units)).await;
    let error = written.expect("the call ends by itself").unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    mode.store(PASS, Ordering::SeqCst);
    let outcomes = sink.write(&recipe, &units).await.unwrap();
    assert_eq!(outcomes[0], UnitOutcome::AlreadyApplied);
    assert!(outcomes[1..].iter().all(|outcome| *outcome == applied(3)), "{outcomes:?}");
    assert_eq!(db.counts().await, [10, 20, 10]);
}

/// A job at which every connection ends is told from a server that lets nobody in.
pub(crate) async fn a_write_that_ends_the_connection_is_told_from_an_absent_database(db: Database) {
    let options = SinkOptions { acquire_timeout: Duration::from_secs(2), ..SinkOptions::default() };
    let Some((sink, mode)) = through_proxy(&db, options).await else { return };
    let recipe = companies(&json!({}));
    let (poison, other) = ([company(&recipe, "poison", 1)], [company(&recipe, "other", 1)]);
    sink.write(&recipe, &[company(&recipe, "before", 0)]).await.unwrap();
    mode.store(CUT_POISON, Ordering::SeqCst);
    for _ in 0..2 {
        let error = sink.write(&recipe, &poison).await.unwrap_err();
        assert!(matches!(error, SinkError::Disconnected { .. }), "{error}");
        sink.probe().await.unwrap();
    }
    sink.write(&recipe, &other).await.unwrap();
    mode.store(HANG_UP, Ordering::SeqCst);
    let error = sink.write(&recipe, &poison).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    sink.probe().await.unwrap_err();
    mode.store(PASS, Ordering::SeqCst);
    assert_eq!(db.counts().await, [2, 1, 2]);
}

pub(crate) async fn a_commit_whose_answer_is_lost_is_not_repeated(db: Database) {
    let Some((sink, mode)) = through_proxy(&db, SinkOptions::default()).await else { return };
    let recipe = companies(&json!({}));
    let units: Vec<Unit> = (0..10).map(|n| company(&recipe, &format!("c{n}"), 2)).collect();
    sink.write(&recipe, &units[..1]).await.unwrap();
    mode.store(SWALLOW_COMMIT, Ordering::SeqCst);
    let error = sink.write(&recipe, &units).await.unwrap_err();
    assert!(matches!(error, SinkError::Disconnected { .. }), "{error}");
    mode.store(PASS, Ordering::SeqCst);
    assert_eq!(db.counts().await, [10, 20, 10], "the server had committed");
    let outcomes = sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{outcomes:?}");
    assert_eq!(db.counts().await, [10, 20, 10]);
}

/// The same where nobody hears that the connection is of no use any more.
pub(crate) async fn a_commit_on_a_half_open_connection_is_not_repeated(db: Database) {
    let options = SinkOptions { answer_timeout: Duration::from_secs(1), ..SinkOptions::default() };
    let Some((sink, mode)) = through_proxy(&db, options).await else { return };
    let recipe = companies(&json!({}));
    let units: Vec<Unit> = (0..10).map(|n| company(&recipe, &format!("c{n}"), 2)).collect();
    sink.write(&recipe, &units[..1]).await.unwrap();
    mode.store(HALF_OPEN, Ordering::SeqCst);
    let error = sink.write(&recipe, &units).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    assert_eq!(db.counts().await, [10, 20, 10], "the server had committed");
    mode.store(PASS, Ordering::SeqCst);
    let outcomes = sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{outcomes:?}");
    assert_eq!(db.counts().await, [10, 20, 10]);
}

/// A worker that vanished holds its locks no longer than a lease lasts: another one writes the same rows then.
pub(crate) async fn a_transaction_whose_worker_is_silent_ends(db: Database) {
    let options = SinkOptions {
        answer_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(3),
        ..SinkOptions::default()
    };
    let Some((sink, mode)) = through_proxy(&db, options).await else { return };
    let recipe = companies(&json!({}));
    let units = [company(&recipe, "poison", 2)];
    sink.write(&recipe, &[company(&recipe, "before", 0)]).await.unwrap();
    mode.store(HALF_OPEN_AT_POISON, Ordering::SeqCst);
    let error = sink.write(&recipe, &units).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    let waits =
        |lock_timeout, contention_attempts| SinkOptions { lock_timeout, contention_attempts, ..Default::default() };
    let soon = db.second_sink(waits(Duration::from_millis(200), 1)).await;
    let (message, may_pass) = rejected(&soon.write(&recipe, &units).await.unwrap()[0]);
    assert!(may_pass, "its locks are held: {message}");
    let later = db.second_sink(waits(Duration::from_secs(6), 1)).await;
    assert_eq!(later.write(&recipe, &units).await.unwrap(), [applied(3)]);
    assert_eq!(db.counts().await, [2, 2, 2]);
    assert!(SinkOptions::default().idle_timeout <= Duration::from_secs(15), "half of a lease");
}

/// While a statement arrives, its worker is not silent.
pub(crate) async fn a_large_statement_over_a_slow_network_is_awaited(db: Database) {
    let options = SinkOptions { idle_timeout: Duration::from_secs(1), ..SinkOptions::default() };
    let Some((sink, mode)) = through_proxy(&db, options).await else { return };
    let kind = if db.kind == DatabaseKind::Mysql { "LONGTEXT" } else { "text" };
    db.run(&format!("CREATE TABLE note (words {kind})")).await;
    let recipe = recipe(&json!([{"table": "note", "columns": {"words": "record.words"}}]));
    let note = |job: &str, words: String| {
        let row = row(&recipe, 0, &[("words", text(words))], Vec::new());
        [Unit { key: key(job), rows: RowTree { rows: vec![row] } }]
    };
    sink.write(&recipe, &note("before", "short".into())).await.unwrap();
    mode.store(SLOW, Ordering::SeqCst);
    assert_eq!(sink.write(&recipe, &note("large", "x".repeat(3 << 20))).await.unwrap(), [applied(1)]);
    assert_eq!(db.sink.count("note").await.unwrap(), 2);
}

/// Two workers update the same rows in opposite order, one row at a time: they deadlock, and neither job fails for it.
/// All rows are of one job, so that splitting cannot be the way out.
pub(crate) async fn deadlocks_are_tried_again(db: Database) {
    let recipe = companies(&json!({"onConflict": "Update", "key": ["reg_num"]}));
    let other = db.second_sink(SinkOptions::default()).await;
    let unit = |round: usize, side: &str| {
        let rows = (0..30).map(|n| company_as(&recipe, "", &format!("r{n}"), side, 1).rows.rows.remove(0)).collect();
        Unit { key: key(&format!("{round}{side}")), rows: RowTree { rows } }
    };
    db.sink.write(&recipe, &[unit(0, "x")]).await.unwrap();
    for round in 1..11 {
        let (one, mut two) = (unit(round, "a"), unit(round, "b"));
        two.rows.rows.reverse();
        let (one, two) = ([one], [two]);
        let (one, two) = tokio::join!(db.sink.write(&recipe, &one), other.write(&recipe, &two));
        assert_eq!([one.unwrap(), two.unwrap()].concat(), [applied(60), applied(60)]);
    }
    assert_eq!(db.counts().await, [30, 630, 21]);
}
