//! SQLite: one writer at a time, so that ids are drawn from the table itself under the write lock.
//!
//! SQLite enforces neither the length of a `VARCHAR(n)` nor the type of a column: both are checked here, from the
//! declared types, so that a record that another database would refuse is refused here too.

mod error;
mod insert;
mod missing;
mod schema;

use std::{collections::HashSet, path::PathBuf, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, Sqlite, SqliteConnection, SqlitePool,
    Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use self::error::classify;
use super::{
    DatabaseKind, DatabaseUrl, SinkError, SinkOptions,
    convert::Cell,
    engine::Engine,
    failure::Failure,
    layout::{Plan, quote_table},
    ledger::{Digest, Entry, PRUNE_LIMIT, ledger_ddl},
    pool::{MAX_AGE, pool_options},
    prepared::BoundRow,
    schema::Table,
    store::{RowOutcome, Store},
    url::{Address, FileMode},
};

/// The [`super::Sink`] for SQLite.
pub(super) type SqliteSink = Engine<SqliteStore>;

/// Connections to one SQLite file.
pub(super) struct SqliteStore {
    endpoint: String,
    /// Of one connection: SQLite has one writer, whose page cache stays valid as long as no other connection writes. The
    /// tasks of this process queue for it, and only processes have to poll the file's lock.
    pool: SqlitePool,
    options: SqliteConnectOptions,
}

/// With less free room than this on the file's disk, in bytes, the log is emptied after each commit.
const SCARCE: u64 = 64 << 20;

impl SqliteStore {
    fn is_short_of_room(&self) -> bool {
        fs4::available_space(self.options.get_filename()).is_ok_and(|room| room < SCARCE)
    }

    /// Moves the write-ahead log into the file. A log that fills the disk leaves no room to do that later, so that no commit
    /// would ever succeed again.
    async fn empty_log(&self) {
        if let Err(error) = self.pool.execute("PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::debug!(%error, "the write-ahead log keeps its room");
        }
    }
}

fn connect_options(url: &DatabaseUrl) -> Result<SqliteConnectOptions, SinkError> {
    let Address::File { path, mode } = url.address() else {
        return Err(SinkError::Config(format!("{url} is not an SQLite URL")));
    };
    Ok(SqliteConnectOptions::new()
        .filename(PathBuf::from(path))
        .create_if_missing(*mode == FileMode::Create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", "-16000") // KiB
        .pragma("wal_autocheckpoint", "4000") // pages; each checkpoint is two more waits for the disk
        .disable_statement_logging())
}

impl SqliteSink {
    /// Opens the file. `Err` as for [`super::connect`].
    pub(super) async fn connect(url: &DatabaseUrl, options: SinkOptions) -> Result<Self, SinkError> {
        let connect = connect_options(url)?.busy_timeout(options.lock_timeout);
        let pool = pool_options(1, MAX_AGE)
            // As long as the one before may wait for another process, and a little more.
            .acquire_timeout(options.acquire_timeout + options.lock_timeout)
            .test_before_acquire(false)
            .connect_lazy_with(connect.clone());
        let store = SqliteStore { endpoint: url.to_string(), pool, options: connect };
        store.diagnose().await.map_err(|failure| failure.into_error(&store.endpoint))?;
        Ok(Self::new(store, options))
    }
}

/// Several processes that open a new file at once collide while one of them turns on the write-ahead log, which
/// SQLite's own waiting does not cover.
async fn open(options: &SqliteConnectOptions) -> Result<SqliteConnection, Failure> {
    let mut attempt = 0;
    loop {
        match options.connect().await.map_err(|error| classify(&error)) {
            Err(Failure::Contention(_)) if attempt < 50 => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(100).mul_f64(rand::random())).await;
            }
            Err(Failure::Failing(words)) => return Err(Failure::Away(missing::explain(options.get_filename(), words))),
            other => return other,
        }
    }
}

/// Runs a script of statements; creates the file if it is missing.
pub(super) async fn run_script(url: &DatabaseUrl, script: &str) -> Result<(), SinkError> {
    let options = connect_options(url)?.create_if_missing(true);
    let run = async {
        let mut connection = open(&options).await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.map_err(|error| classify(&error))?;
        connection.close().await.map_err(|error| classify(&error))
    };
    run.await.map_err(|failure: Failure| failure.into_error(&url.to_string()))
}

#[async_trait]
impl Store for SqliteStore {
    type Tx = Transaction<'static, Sqlite>;

    const KIND: DatabaseKind = DatabaseKind::Sqlite;

    /// Pages stay in memory until then.
    const WRITES_AT_ONCE: bool = false;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        // The write lock is taken at once: a transaction that reads first may find that it can no longer write.
        let mut begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        if matches!(begun, Err(sqlx::Error::InvalidSavePointStatement)) {
            // SQLite had rolled back by itself, for want of room say, which the driver does not notice: it counts that
            // transaction as open for as long as the connection lives.
            let stale = self.pool.acquire().await.map_err(|error| classify(&error))?;
            stale.close().await.map_err(|error| classify(&error))?;
            begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        }
        begun.map_err(|error| match classify(&error) {
            Failure::Contention(words) => Failure::Busy(words),
            other => other,
        })
    }

    async fn enter(&self, tx: &mut Self::Tx, entries: &[&Entry]) -> Result<HashSet<Digest>, Failure> {
        insert::enter(tx, entries).await.map_err(|error| classify(&error))
    }

    async fn forget(&self, tx: &mut Self::Tx, entry: &Entry) -> Result<(), Failure> {
        let delete = sqlx::query("DELETE FROM jobqueue_ledger WHERE digest = ?").bind(entry.digest.to_vec());
        delete.execute(&mut **tx).await.map(drop).map_err(|error| classify(&error))
    }

    async fn insert(&self, tx: &mut Self::Tx, plan: &Plan, rows: &[BoundRow<'_>]) -> Result<(), Failure> {
        insert::rows(tx, plan, rows, None).await.map_err(|error| classify(&error))
    }

    async fn insert_with_ids(
        &self,
        tx: &mut Self::Tx,
        plan: &Plan,
        rows: &[BoundRow<'_>],
    ) -> Result<Vec<Cell<'static>>, Failure> {
        insert::rows_with_ids(tx, plan, rows).await
    }

    async fn insert_one(&self, tx: &mut Self::Tx, plan: &Plan, row: BoundRow<'_>) -> Result<RowOutcome, Failure> {
        insert::one(tx, plan, row).await
    }

    async fn run(&self, tx: &mut Self::Tx, statement: &'static str) -> Result<(), Failure> {
        tx.execute(sqlx::raw_sql(statement)).await.map(drop).map_err(|error| classify(&error))
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        tx.commit().await.map_err(|error| classify(&error))?;
        if self.is_short_of_room() {
            self.empty_log().await;
        }
        Ok(())
    }

    async fn rollback(&self, tx: Self::Tx) -> bool {
        if let Err(error) = tx.rollback().await {
            tracing::debug!(%error, "SQLite had rolled back by itself");
        }
        true
    }

    async fn rehearse(&self, tx: &mut Self::Tx, plan: &Plan) -> Result<(), Failure> {
        insert::rehearse(tx, plan).await.map_err(|error| classify(&error))
    }

    /// All tables are in one file.
    async fn shares_disk(&self, _: &[Plan]) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn table(&self, name: &str) -> Result<Option<Table>, Failure> {
        schema::table(&self.pool, name).await.map_err(|error| classify(&error))
    }

    async fn table_names(&self) -> Result<Vec<String>, Failure> {
        schema::table_names(&self.pool).await.map_err(|error| classify(&error))
    }

    async fn ensure_ledger(&self) -> Result<(), Failure> {
        self.pool
            .execute(sqlx::raw_sql(ledger_ddl(DatabaseKind::Sqlite)))
            .await
            .map(drop)
            .map_err(|error| classify(&error))
    }

    async fn prune_ledger(&self, age: Duration) -> Result<u64, Failure> {
        // Entries are numbered as they are written, so that the old ones are the first ones.
        let delete = sqlx::query(
            "DELETE FROM jobqueue_ledger WHERE entry IN (SELECT entry FROM (SELECT entry, applied_at FROM jobqueue_ledger \
             ORDER BY entry LIMIT ?) WHERE applied_at < datetime('now', ?))",
        );
        let deleted = delete.bind(PRUNE_LIMIT).bind(format!("-{} seconds", age.as_secs())).execute(&self.pool).await;
        Ok(deleted.map_err(|error| classify(&error))?.rows_affected())
    }

    async fn ping(&self) -> Result<(), Failure> {
        self.pool.execute("SELECT 1 FROM sqlite_schema LIMIT 1").await.map(drop).map_err(|error| classify(&error))
    }

    async fn count(&self, table: &str) -> Result<u64, Failure> {
        let statement = format!("SELECT count(*) FROM {}", quote_table(DatabaseKind::Sqlite, table));
        let row = sqlx::query(AssertSqlSafe(statement)).fetch_one(&self.pool).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn diagnose(&self) -> Result<(), Failure> {
        open(&self.options).await?.close().await.map_err(|error| classify(&error))
    }
}
