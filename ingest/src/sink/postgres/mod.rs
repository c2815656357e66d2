//! PostgreSQL: the rows of a table go in by one `INSERT ... SELECT FROM unnest(...)`.

mod error;
mod insert;
mod schema;
mod statement;

use std::{collections::HashSet, str::FromStr as _, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres, Row as _, Transaction,
    postgres::PgConnectOptions,
};
use url::Url;

use self::{error::classify, statement::statement};
use super::{
    DatabaseKind, DatabaseUrl, LEDGER_TABLE, SinkError, SinkOptions,
    convert::Cell,
    engine::Engine,
    failure::Failure,
    hosts::{Host, Hosts, ServerKind, seek, with_password, without_brackets},
    layout::{Plan, quote_table},
    ledger::{Digest, Entry, PRUNE_LIMIT, ledger_ddl},
    pool::{MAX_AGE, pool_options},
    prepared::BoundRow,
    schema::Table,
    store::{RowOutcome, Store},
    url::{Address, Target, host_and_port},
};
use crate::TimeZone;

/// The [`super::Sink`] for PostgreSQL.
pub(super) type PostgresSink = Engine<PostgresStore>;

/// Connections to one PostgreSQL database, perhaps through a pooler that gives each transaction another one.
pub(super) struct PostgresStore {
    endpoint: String,
    hosts: Hosts<Postgres>,
    zone: TimeZone,
    /// What every transaction begins with.
    begin: String,
}

fn connect_options(address: &Url) -> Result<PgConnectOptions, SinkError> {
    let options = PgConnectOptions::from_str(address.as_str())
        .map_err(|error| SinkError::Config(format!("the database URL cannot be used: {error}")))?;
    let host = without_brackets(options.get_host()).to_owned();
    let options = options.host(&host);
    // Floats are exact without it since PostgreSQL 12, and poolers refuse it.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

/// Each of the URL's servers, and which one is wanted.
fn servers(url: &DatabaseUrl) -> Result<(Vec<Host<Postgres>>, Option<Target>), SinkError> {
    let Address::Server(servers) = url.address() else {
        return Err(SinkError::Config(format!("{url} is not a PostgreSQL URL")));
    };
    let host = |url| Ok(Host { address: host_and_port(url), options: connect_options(url)? });
    let hosts = servers.urls().map(host).collect::<Result<_, SinkError>>()?;
    let hosts = with_password(hosts, url.password_file()).map_err(|failure| failure.into_error(&url.to_string()))?;
    Ok((hosts, servers.target()))
}

#[async_trait]
impl ServerKind for Postgres {
    fn classify(error: &sqlx::Error) -> Failure {
        classify(error)
    }

    fn with_password(options: PgConnectOptions, password: &str) -> PgConnectOptions {
        options.password(password)
    }

    async fn takes_none(connection: &mut PgConnection, target: Target) -> Result<Option<String>, sqlx::Error> {
        // As text, and not prepared, for poolers.
        let look = sqlx::raw_sql("SELECT pg_is_in_recovery()::text, current_setting('transaction_read_only')");
        let row = look.fetch_one(connection).await?;
        let (standby, read_only): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(match (standby.as_str(), read_only.as_str()) {
            ("true", _) => Some("it is a standby, which is read-only".into()),
            (_, "on") if target == Target::ReadWrite => Some("it is read-only (default_transaction_read_only)".into()),
            _ => None,
        })
    }
}

impl PostgresSink {
    /// Opens the database. `Err` as for [`super::connect`].
    pub(super) async fn connect(url: &DatabaseUrl, options: SinkOptions) -> Result<Self, SinkError> {
        let (hosts, target) = servers(url)?;
        let zone = zone(&hosts, target, options.time_zone, &url.to_string()).await?;
        let pool = pool_options(options.max_connections, MAX_AGE).acquire_timeout(options.acquire_timeout);
        let hosts = Hosts::new(hosts, target, pool).with_password_file(url.password_file());
        let begin = begin(&options, zone);
        let store = PostgresStore { endpoint: url.to_string(), hosts, zone, begin };
        store.diagnose().await.map_err(|failure| failure.into_error(&store.endpoint))?;
        Ok(Self::new(store, options))
    }
}

/// A stopped worker must not hold its locks for ever, nor a statement that does not end, and an acknowledged commit must be
/// on disk whatever the account's defaults are. The settings end with the transaction: a pooler may give the connection to
/// others after it.
fn begin(options: &SinkOptions, zone: TimeZone) -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}; {}; \
         SELECT set_config('statement_timeout', '{}', true) WHERE current_setting('statement_timeout') = '0'; \
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
        options.lock_timeout.as_millis(),
        options.idle_timeout.as_millis(),
        set_zone("LOCAL", zone),
        options.statement_timeout().as_millis(),
    )
}

/// For the session or, with LOCAL, the transaction. As text, `+08:00` would be west of Greenwich.
fn set_zone(scope: &str, zone: TimeZone) -> String {
    match zone {
        TimeZone::Offset(offset) if offset.local_minus_utc() != 0 => {
            format!("SET {scope} TIME ZONE INTERVAL '{offset}' HOUR TO MINUTE")
        }
        other => format!("SET {scope} TIME ZONE '{other}'"),
    }
}

/// The zone to use; never [`TimeZone::Server`].
async fn zone(
    hosts: &[Host<Postgres>],
    target: Option<Target>,
    given: Option<TimeZone>,
    endpoint: &str,
) -> Result<TimeZone, SinkError> {
    let of_url = || hosts.first().and_then(|host| zone_of_options(host.options.get_options()?));
    let zone = match given {
        Some(zone) => zone,
        None => match of_url() {
            Some(name) => known(name, "its URL")?,
            None => return Ok(TimeZone::default()),
        },
    };
    if zone == TimeZone::default() {
        return Ok(zone);
    }
    let away = |failure: Failure| failure.into_error(endpoint);
    let (_, mut connection) = seek(hosts, target).await.map_err(away)?;
    let zone = match zone {
        TimeZone::Server => match of_url() {
            Some(name) => known(name, "its URL")?,
            None => servers_own(&mut connection, endpoint).await?,
        },
        other => other,
    };
    let set = connection.execute(sqlx::raw_sql(AssertSqlSafe(set_zone("SESSION", zone)))).await;
    if let Err(sqlx::Error::Database(error)) = &set
        && error.code().as_deref() == Some("22023")
    {
        return Err(SinkError::Config(format!("the database at {endpoint} does not know the time zone {zone}")));
    }
    set.map_err(|error| away(classify(&error)))?;
    connection.close().await.map_err(|error| away(classify(&error)))?;
    Ok(zone)
}

/// The value of `TimeZone` in the `options` of a URL: the last `-c TimeZone=...`.
fn zone_of_options(options: &str) -> Option<&str> {
    let mut settings = options.split_whitespace().filter_map(|word| word.split_once('='));
    let named = |name: &str| name.trim_start_matches("--").trim_start_matches("-c").eq_ignore_ascii_case("timezone");
    settings.rfind(|(name, _)| named(name)).map(|(_, zone)| zone)
}

fn known(name: &str, whose: &str) -> Result<TimeZone, SinkError> {
    match name.parse() {
        Ok(zone) if zone != TimeZone::Server => Ok(zone),
        _ if name == "GMT" => Ok(TimeZone::default()),
        _ => Err(SinkError::Config(format!(
            "the database's time zone ({whose}) is {name:?}: say it by its IANA name in database.timeZone"
        ))),
    }
}

/// What a session would have had without the driver, which asks for UTC: the setting of the role in this database, of the
/// role, of the database, of all roles, or of the server's files, which not every account may see.
async fn servers_own(connection: &mut PgConnection, endpoint: &str) -> Result<TimeZone, SinkError> {
    let away = |error: sqlx::Error| classify(&error).into_error(endpoint);
    let set = "SELECT substr(setting, 10) FROM pg_db_role_setting, unnest(setconfig) AS setting \
               WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
               AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user)) \
               AND lower(setting) LIKE 'timezone=%' ORDER BY setrole = 0, setdatabase = 0 LIMIT 1";
    if let Some(row) = sqlx::raw_sql(set).fetch_optional(&mut *connection).await.map_err(away)? {
        return known(row.try_get(0).map_err(away)?, "set for the role or the database");
    }
    let may_look = "SELECT 1 WHERE has_table_privilege('pg_file_settings', 'SELECT') \
                    AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')";
    if sqlx::raw_sql(may_look).fetch_optional(&mut *connection).await.map_err(away)?.is_none() {
        return Err(SinkError::Config(format!(
            "database.timeZone is Server, and this account may not see the time zone of the server at {endpoint}: name the \
             zone in database.timeZone, or ALTER ROLE ... SET timezone"
        )));
    }
    let of_files =
        "SELECT setting FROM pg_file_settings WHERE lower(name) = 'timezone' AND applied ORDER BY seqno DESC LIMIT 1";
    match sqlx::raw_sql(of_files).fetch_optional(&mut *connection).await.map_err(away)? {
        Some(row) => known(row.try_get(0).map_err(away)?, "set in the server's files"),
        None => Ok(TimeZone::default()),
    }
}

/// Runs a script of statements on a connection of its own.
pub(super) async fn run_script(url: &DatabaseUrl, script: &str) -> Result<(), SinkError> {
    let (hosts, target) = servers(url)?;
    let run = async {
        let (_, mut connection) = seek(&hosts, target).await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.map_err(|error| classify(&error))?;
        connection.close().await.map_err(|error| classify(&error))
    };
    run.await.map_err(|failure: Failure| failure.into_error(&url.to_string()))
}

impl PostgresStore {
    /// What PostgreSQL has against the values of these columns, in a transaction of its own.
    async fn refuses(&self, plan: &Plan, cells: &[Cell<'_>], columns: &[usize]) -> Option<String> {
        let mut tx = self.begin().await.ok()?;
        let refused = insert::cast(&mut tx, plan, cells, columns).await.map_err(|error| classify(&error));
        self.rollback(tx).await;
        match refused {
            Err(Failure::Refused { words, .. }) => Some(words),
            _ => None,
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    type Tx = Transaction<'static, Postgres>;

    const KIND: DatabaseKind = DatabaseKind::Postgres;

    const WRITES_AT_ONCE: bool = true;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn zone(&self) -> TimeZone {
        self.zone
    }

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        let pool = self.hosts.pool().await?;
        let begin = pool.begin_with(AssertSqlSafe(self.begin.as_str()));
        match self.hosts.watched(begin).await {
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
        insert::forget(tx, entry).await.map_err(|error| classify(&error))
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

    async fn check_deferred(&self, tx: &mut Self::Tx) -> Result<(), Failure> {
        self.run(tx, "SET CONSTRAINTS ALL IMMEDIATE").await
    }

    async fn objection(&self, plan: &Plan, cells: &[Cell<'_>]) -> Option<(usize, String)> {
        let all: Vec<usize> = (0..plan.columns.len()).collect();
        self.refuses(plan, cells, &all).await?;
        for column in all {
            if let Some(words) = self.refuses(plan, cells, &[column]).await {
                return Some((column, words));
            }
        }
        None
    }

    async fn limit_statements(&self, tx: &mut Self::Tx, limit: Duration) -> Result<(), Failure> {
        let words = format!(
            "SELECT set_config('statement_timeout', '{0}', true) FROM pg_settings \
             WHERE name = 'statement_timeout' AND setting::bigint NOT BETWEEN 1 AND {0}",
            limit.as_millis()
        );
        tx.execute(sqlx::raw_sql(AssertSqlSafe(words))).await.map(drop).map_err(|error| classify(&error))
    }

    async fn run(&self, tx: &mut Self::Tx, statement: &'static str) -> Result<(), Failure> {
        tx.execute(sqlx::raw_sql(statement)).await.map(drop).map_err(|error| classify(&error))
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        tx.commit().await.map_err(|error| classify(&error))
    }

    async fn rollback(&self, tx: Self::Tx) -> bool {
        let answer = tx.rollback().await;
        if let Err(error) = &answer {
            tracing::debug!(%error, "the rollback had no answer; the server does it when the connection ends");
        }
        answer.is_ok()
    }

    async fn rehearse(&self, tx: &mut Self::Tx, plan: &Plan) -> Result<(), Failure> {
        let missing = insert::rehearse(tx, plan).await.map_err(|error| classify(&error))?;
        match missing {
            None => Ok(()),
            Some(sequence) => Err(Failure::Denied(format!("permission denied for sequence {sequence}"))),
        }
    }

    async fn shares_disk(&self, _: &[Plan]) -> Result<bool, Failure> {
        // Partitions and indexes count too, so that the whole database is looked at.
        let look = statement(
            "SELECT count(DISTINCT c.reltablespace) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'i', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        );
        let mut tx = self.begin().await?;
        let row = look.fetch_one(&mut *tx).await;
        let places: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
        self.commit(tx).await.map(|()| places == 1)
    }

    async fn table(&self, name: &str) -> Result<Option<Table>, Failure> {
        let mut tx = self.begin().await?;
        let table = schema::table(&mut tx, name).await.map_err(|error| classify(&error))?;
        self.commit(tx).await.map(|()| table)
    }

    async fn table_names(&self) -> Result<Vec<String>, Failure> {
        let mut tx = self.begin().await?;
        let names = schema::table_names(&mut tx).await.map_err(|error| classify(&error))?;
        self.commit(tx).await.map(|()| names)
    }

    async fn ensure_ledger(&self) -> Result<(), Failure> {
        // The look comes first: an account without the right to create tables may find it there.
        if self.table(LEDGER_TABLE).await?.is_some() {
            return Ok(());
        }
        let create = async {
            let mut tx = self.begin().await?;
            let created = tx.execute(sqlx::raw_sql(ledger_ddl(DatabaseKind::Postgres))).await;
            created.map_err(|error| classify(&error))?;
            self.commit(tx).await
        };
        match create.await {
            Ok(()) => Ok(()),
            // Another worker created it in the same instant.
            Err(Failure::Refused { .. }) if matches!(self.table(LEDGER_TABLE).await, Ok(Some(_))) => Ok(()),
            Err(Failure::Denied(words)) => Err(Failure::Denied(format!(
                "{words}; the table {LEDGER_TABLE} is missing and this account may not create it: run what `jobqueue schema` prints"
            ))),
            Err(failure) => Err(failure),
        }
    }

    async fn prune_ledger(&self, age: Duration) -> Result<u64, Failure> {
        let pruned = statement(
            "DELETE FROM jobqueue_ledger WHERE digest IN (SELECT digest FROM jobqueue_ledger \
             WHERE applied_at < now() - make_interval(secs => $1) ORDER BY applied_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(age.as_secs_f64())
        .bind(i64::from(PRUNE_LIMIT));
        let mut tx = self.begin().await?;
        let result = pruned.execute(&mut *tx).await.map_err(|error| classify(&error))?;
        self.commit(tx).await.map(|()| result.rows_affected())
    }

    async fn ping(&self) -> Result<(), Failure> {
        let pool = self.hosts.pool().await?;
        match self.hosts.watched(pool.execute("SELECT 1")).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::PoolTimedOut) => self.diagnose().await,
            Err(error) => Err(classify(&error)),
        }
    }

    async fn count(&self, table: &str) -> Result<u64, Failure> {
        let count = format!("SELECT count(*) FROM {}", quote_table(DatabaseKind::Postgres, table));
        let mut tx = self.begin().await?;
        let row = statement(AssertSqlSafe(count)).fetch_one(&mut *tx).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
        self.commit(tx).await.map(|()| u64::try_from(count).unwrap_or_default())
    }

    fn failed(&self, failure: &Failure) {
        self.hosts.failed(failure);
    }

    async fn diagnose(&self) -> Result<(), Failure> {
        self.hosts.diagnose().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_a_certificate_would_name() {
        for (host, expected) in [("[fd00::5]:7000", "fd00::5"), ("db.example", "db.example"), ("10.0.0.1", "10.0.0.1")]
        {
            let url: Url = format!("postgres://u:p@{host}/b").parse().unwrap();
            assert_eq!(connect_options(&url).unwrap().get_host(), expected);
        }
    }
}
