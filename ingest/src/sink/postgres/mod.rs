//! PostgreSQL: rows go in by `COPY`, or by `INSERT ... SELECT FROM unnest(...)` where a conflict policy needs it.

mod error;
mod insert;
mod schema;

use std::{collections::HashSet, str::FromStr as _, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres, Row as _,
    Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use self::error::classify;
use super::{
    DatabaseKind, DatabaseUrl, LEDGER_TABLE, PRUNE_LIMIT, SinkError, SinkOptions,
    convert::Cell,
    engine::Engine,
    failure::Failure,
    layout::{Plan, quote_table},
    ledger::{Digest, Entry, ledger_ddl},
    schema::Table,
    store::{Landed, Store},
    units::BoundRow,
    url::Place,
};

/// The [`super::Sink`] for PostgreSQL.
pub(super) type PostgresSink = Engine<PostgresStore>;

/// Connections to one PostgreSQL database.
pub(super) struct PostgresStore {
    endpoint: String,
    pool: PgPool,
    options: PgConnectOptions,
}

fn connect_options(url: &DatabaseUrl) -> Result<PgConnectOptions, SinkError> {
    let Place::Server(address) = url.place() else {
        return Err(SinkError::Config(format!("{url} is not a PostgreSQL URL")));
    };
    let options = PgConnectOptions::from_str(address.as_str())
        .map_err(|error| SinkError::Config(format!("{url} cannot be used: {error}")))?;
    Ok(options.disable_statement_logging())
}

impl PostgresSink {
    pub(super) async fn connect(url: &DatabaseUrl, options: SinkOptions) -> Result<Self, SinkError> {
        let connect = connect_options(url)?;
        let lock_timeout = options.lock_timeout.as_millis();
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections.max(1))
            .acquire_timeout(options.acquire_timeout)
            .after_connect(move |connection, _| Box::pin(set_up(connection, lock_timeout)))
            .connect_lazy_with(connect.clone());
        let store = PostgresStore { endpoint: url.to_string(), pool, options: connect };
        store.diagnose().await.map_err(|failure| failure.into_error(&store.endpoint))?;
        Ok(Self::new(store, options))
    }
}

/// A stopped worker must not hold its locks for ever, and an acknowledged commit must be on disk whatever the account's
/// defaults are.
async fn set_up(connection: &mut PgConnection, lock_timeout: u128) -> Result<(), sqlx::Error> {
    let settings = format!(
        "SET lock_timeout = {lock_timeout}; SET idle_in_transaction_session_timeout = 60000; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await.map(drop)
}

pub(super) async fn run_script(url: &DatabaseUrl, script: &str) -> Result<(), SinkError> {
    let run = async {
        let mut connection = connect_options(url)?.connect().await.map_err(|error| classify(&error))?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.map_err(|error| classify(&error))?;
        connection.close().await.map_err(|error| classify(&error))?;
        Ok(())
    };
    run.await.map_err(|error: ScriptError| error.at(url))
}

enum ScriptError {
    Sink(SinkError),
    Failure(Failure),
}

impl ScriptError {
    fn at(self, url: &DatabaseUrl) -> SinkError {
        match self {
            Self::Sink(error) => error,
            Self::Failure(failure) => failure.into_error(&url.to_string()),
        }
    }
}

impl From<SinkError> for ScriptError {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl From<Failure> for ScriptError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

#[async_trait]
impl Store for PostgresStore {
    type Tx = Transaction<'static, Postgres>;

    const KIND: DatabaseKind = DatabaseKind::Postgres;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        match self.pool.begin().await {
            Err(sqlx::Error::PoolTimedOut) => {
                self.diagnose().await?;
                Err(Failure::Away("no connection became free in time".into()))
            }
            other => other.map_err(|error| classify(&error)),
        }
    }

    async fn enter(&self, tx: &mut Self::Tx, entries: &[&Entry]) -> Result<HashSet<Digest>, Failure> {
        insert::enter(tx, entries).await.map_err(|error| classify(&error))
    }

    async fn forget(&self, tx: &mut Self::Tx, entry: &Entry) -> Result<(), Failure> {
        let delete = sqlx::query("DELETE FROM jobqueue_ledger WHERE digest = $1").bind(entry.digest.to_vec());
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
        insert::rows_with_ids(tx, plan, rows).await.map_err(|error| classify(&error))
    }

    async fn insert_one(&self, tx: &mut Self::Tx, plan: &Plan, row: BoundRow<'_>) -> Result<Landed, Failure> {
        insert::one(tx, plan, row).await.map_err(|error| classify(&error))
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        tx.commit().await.map_err(|error| classify(&error))
    }

    async fn rollback(&self, tx: Self::Tx) {
        if let Err(error) = tx.rollback().await {
            tracing::debug!(%error, "the rollback had no answer; the server does it when the connection ends");
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Table>, Failure> {
        schema::table(&self.pool, name).await.map_err(|error| classify(&error))
    }

    async fn table_names(&self) -> Result<Vec<String>, Failure> {
        schema::table_names(&self.pool).await.map_err(|error| classify(&error))
    }

    async fn ensure_ledger(&self) -> Result<(), Failure> {
        // The look comes first: an account without the right to create tables may find it there.
        if schema::table(&self.pool, LEDGER_TABLE).await.map_err(|error| classify(&error))?.is_some() {
            return Ok(());
        }
        let created = self.pool.execute(sqlx::raw_sql(ledger_ddl(DatabaseKind::Postgres))).await;
        match created.map_err(|error| classify(&error)) {
            Ok(_) => Ok(()),
            // Another worker created it in the same instant.
            Err(Failure::Refused { .. }) if matches!(self.table(LEDGER_TABLE).await, Ok(Some(_))) => Ok(()),
            Err(Failure::Denied(words)) => Err(Failure::Denied(format!(
                "{words}; the table {LEDGER_TABLE} is missing and this account may not create it: run what `jobqueue schema` prints"
            ))),
            Err(failure) => Err(failure),
        }
    }

    async fn prune_ledger(&self, age: Duration) -> Result<u64, Failure> {
        let pruned = sqlx::query(
            "DELETE FROM jobqueue_ledger WHERE digest IN (SELECT digest FROM jobqueue_ledger \
             WHERE applied_at < now() - make_interval(secs => $1) ORDER BY applied_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(age.as_secs_f64())
        .bind(i64::from(PRUNE_LIMIT));
        let result = pruned.execute(&self.pool).await.map_err(|error| classify(&error))?;
        Ok(result.rows_affected())
    }

    async fn ping(&self) -> Result<(), Failure> {
        match self.pool.execute("SELECT 1").await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::PoolTimedOut) => self.diagnose().await,
            Err(error) => Err(classify(&error)),
        }
    }

    async fn count(&self, table: &str) -> Result<u64, Failure> {
        let statement = format!("SELECT count(*) FROM {}", quote_table(DatabaseKind::Postgres, table));
        let row = sqlx::query(AssertSqlSafe(statement)).fetch_one(&self.pool).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn diagnose(&self) -> Result<(), Failure> {
        let reach = tokio::time::timeout(Duration::from_secs(5), self.options.connect()).await;
        let connection = reach.map_err(|_| Failure::Away("no answer within 5 s".into()))?;
        connection.map_err(|error| classify(&error))?.close().await.map_err(|error| classify(&error))
    }
}
