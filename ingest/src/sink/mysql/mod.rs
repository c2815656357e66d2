//! MariaDB and MySQL: multi-row `INSERT`s as prepared statements, which return the ids where the server can.

mod error;
mod ids;
mod insert;
mod ledger;
mod schema;
mod statement;

use std::{collections::HashSet, str::FromStr as _, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, MySql, MySqlConnection, Row as _, Transaction,
    mysql::{MySqlConnectOptions, MySqlDatabaseError},
};
use url::Url;

use self::error::classify;
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

/// The [`super::Sink`] for MariaDB and MySQL.
pub(super) type MysqlSink = Engine<MysqlStore>;

/// Connections to one MariaDB or MySQL database.
pub(super) struct MysqlStore {
    endpoint: String,
    hosts: Hosts<MySql>,
    zone: TimeZone,
    /// `max_allowed_packet`, bytes.
    packet: usize,
}

/// The driver sets the zone of each session.
fn connect_options(address: &Url, zone: TimeZone) -> Result<MySqlConnectOptions, SinkError> {
    let options = MySqlConnectOptions::from_str(address.as_str())
        .map_err(|error| SinkError::Config(format!("the database URL cannot be used: {error}")))?;
    let host = without_brackets(options.get_host()).to_owned();
    let options = options.host(&host);
    Ok(options.charset("utf8mb4").timezone(session_zone(zone)).disable_statement_logging())
}

/// As `time_zone` takes it; `None` leaves what the server has.
fn session_zone(zone: TimeZone) -> Option<String> {
    match zone {
        TimeZone::Offset(offset) => Some(offset.to_string()),
        TimeZone::Named(zone) => Some(zone.name().to_owned()),
        TimeZone::Server => None,
    }
}

/// Each of the URL's servers, and which one is wanted.
fn servers(url: &DatabaseUrl, zone: TimeZone) -> Result<(Vec<Host<MySql>>, Option<Target>), SinkError> {
    let Address::Server(servers) = url.address() else {
        return Err(SinkError::Config(format!("{url} is not a MySQL URL")));
    };
    let has_token = url.password_file().is_some();
    let host = |url| {
        // A token that the server passes on to be checked (IAM of RDS) is sent as it is, and over TLS only.
        let options = connect_options(url, zone)?.enable_cleartext_plugin(has_token && DatabaseUrl::demands_tls(url));
        Ok(Host { address: host_and_port(url), options })
    };
    let hosts = servers.urls().map(host).collect::<Result<_, SinkError>>()?;
    let hosts = with_password(hosts, url.password_file()).map_err(|failure| failure.into_error(&url.to_string()))?;
    Ok((hosts, servers.target()))
}

#[async_trait]
impl ServerKind for MySql {
    fn classify(error: &sqlx::Error) -> Failure {
        classify(error)
    }

    fn with_password(options: MySqlConnectOptions, password: &str) -> MySqlConnectOptions {
        options.password(password)
    }

    /// A replica is known by being read-only, also for an account that could write all the same.
    async fn takes_none(connection: &mut MySqlConnection, _: Target) -> Result<Option<String>, sqlx::Error> {
        let look = sqlx::query("SELECT CAST(@@GLOBAL.read_only IN ('0', 'OFF') AS UNSIGNED)");
        let writable: u64 = look.fetch_one(connection).await?.try_get(0)?;
        Ok((writable == 0).then(|| "it is read-only (read_only), as replicas are".into()))
    }
}

impl MysqlSink {
    /// Opens the database. `Err` as for [`super::connect`].
    pub(super) async fn connect(url: &DatabaseUrl, options: SinkOptions) -> Result<Self, SinkError> {
        let asked = options.time_zone.unwrap_or_default();
        // A zone that the server may not know is no part of the first connection.
        let first = if asked == TimeZone::Server { asked } else { TimeZone::default() };
        let (hosts, target) = servers(url, first)?;
        let limits = options.clone();
        let pool = pool_options::<MySql>(options.max_connections, MAX_AGE)
            .acquire_timeout(options.acquire_timeout)
            .after_connect(move |connection, _| Box::pin(set_up(connection, limits.clone())));
        let endpoint = url.to_string();
        let away = |failure: Failure| failure.into_error(&endpoint);
        let (mut connection, packet) = first_look(&hosts, target).await.map_err(away)?;
        let used = session(&mut connection, asked, &endpoint).await?;
        connection.close().await.map_err(|error| away(classify(&error)))?;
        let (hosts, target) = servers(url, used)?;
        let zone = if asked == TimeZone::Server { own(&hosts, target).await.map_err(away)? } else { used };
        Ok(Self::new(
            MysqlStore {
                endpoint,
                hosts: Hosts::new(hosts, target, pool).with_password_file(url.password_file()),
                zone,
                packet,
            },
            options,
        ))
    }
}

/// A connection, the largest packet that the server takes, and a warning where commits are not durable.
async fn first_look(hosts: &[Host<MySql>], target: Option<Target>) -> Result<(MySqlConnection, usize), Failure> {
    let (_, mut connection) = seek(hosts, target).await?;
    let look = sqlx::query(
        "SELECT CAST(@@max_allowed_packet AS UNSIGNED), \
         CAST(@@innodb_flush_log_at_trx_commit AS UNSIGNED)",
    );
    let row = look.fetch_one(&mut connection).await.map_err(|error| classify(&error))?;
    let number = |index: usize| row.try_get::<u64, _>(index).map_err(|error| classify(&error));
    let packet = usize::try_from(number(0)?).unwrap_or(usize::MAX);
    if number(1)? != 1 {
        tracing::warn!(
            "innodb_flush_log_at_trx_commit is not 1: a crash of the database server can lose jobs that count as done"
        );
    }
    Ok((connection, packet))
}

/// The zone that sessions are to be in: the one asked for, or its offset where the server has no names of zones and the zone
/// never changes its clocks.
async fn session(connection: &mut MySqlConnection, asked: TimeZone, endpoint: &str) -> Result<TimeZone, SinkError> {
    let constant = asked.constant().map(TimeZone::Offset);
    for zone in [Some(asked), constant].into_iter().flatten() {
        let Some(name) = session_zone(zone) else { return Ok(zone) };
        let set = connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("SET time_zone = '{name}'")))).await;
        match set {
            Ok(_) => return Ok(zone),
            // Unknown or incorrect time zone
            Err(sqlx::Error::Database(error))
                if error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| error.number() == 1298) => {}
            Err(error) => return Err(classify(&error).into_error(endpoint)),
        }
    }
    let hint = match asked {
        TimeZone::Named(_) => {
            "; it may have no names of zones (mysql_tzinfo_to_sql loads them): load them, or give an offset such as +08:00"
        }
        _ => "",
    };
    Err(SinkError::Config(format!(
        "the database at {endpoint} does not know the time zone {asked} of database.timeZone{hint}"
    )))
}

/// The zone that a session has by itself; [`TimeZone::Server`] where it has no name that can be trusted: `SYSTEM` is an
/// abbreviation, and CST is Chicago as well as Shanghai.
async fn own(hosts: &[Host<MySql>], target: Option<Target>) -> Result<TimeZone, Failure> {
    let (_, mut connection) = seek(hosts, target).await?;
    let look = sqlx::query("SELECT CAST(@@session.time_zone AS CHAR), CAST(@@system_time_zone AS CHAR)");
    let row = look.fetch_one(&mut connection).await.map_err(|error| classify(&error))?;
    let name = |index: usize| row.try_get::<String, _>(index).map_err(|error| classify(&error));
    let (session, system) = (name(0)?, name(1)?);
    connection.close().await.map_err(|error| classify(&error))?;
    Ok(match session.as_str() {
        "SYSTEM" if system == "UTC" || system == "GMT" => TimeZone::default(),
        "SYSTEM" => TimeZone::Server,
        name => name.parse().unwrap_or(TimeZone::Server),
    })
}

/// Strict mode makes a value that does not fit an error instead of a truncation. A stopped worker must not hold its
/// locks for ever; only MariaDB can see to that.
async fn set_up(connection: &mut MySqlConnection, limits: SinkOptions) -> Result<(), sqlx::Error> {
    let lock_timeout = limits.lock_timeout.as_secs().max(1);
    let settings = format!(
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO'), \
         SESSION innodb_lock_wait_timeout = {lock_timeout}, SESSION lock_wait_timeout = {lock_timeout}, SESSION autocommit = 1"
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(settings))).await?;
    let limit = format!("SET SESSION idle_transaction_timeout = {}", limits.idle_timeout.as_secs().max(1));
    if let Err(error) = connection.execute(sqlx::raw_sql(AssertSqlSafe(limit))).await {
        tracing::debug!(%error, "the server has no idle_transaction_timeout");
    }
    let limit = format!(
        "SET SESSION max_statement_time = IF(@@max_statement_time = 0, {}, @@max_statement_time)",
        limits.statement_timeout().as_secs_f64()
    );
    if let Err(error) = connection.execute(sqlx::raw_sql(AssertSqlSafe(limit))).await {
        tracing::debug!(%error, "the server has no max_statement_time");
    }
    Ok(())
}

/// Runs a script of statements on a connection of its own.
pub(super) async fn run_script(url: &DatabaseUrl, script: &str) -> Result<(), SinkError> {
    let (hosts, target) = servers(url, TimeZone::default())?;
    let run = async {
        let (_, mut connection) = seek(&hosts, target).await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.map_err(|error| classify(&error))?;
        connection.close().await.map_err(|error| classify(&error))
    };
    run.await.map_err(|failure: Failure| failure.into_error(&url.to_string()))
}

#[async_trait]
impl Store for MysqlStore {
    type Tx = Transaction<'static, MySql>;

    const KIND: DatabaseKind = DatabaseKind::Mysql;

    const WRITES_AT_ONCE: bool = true;

    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn zone(&self) -> TimeZone {
        self.zone
    }

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        let pool = self.hosts.pool().await?;
        match self.hosts.watched(pool.begin()).await {
            Err(sqlx::Error::PoolTimedOut) => {
                self.diagnose().await?;
                Err(Failure::Away("no connection became free in time".into()))
            }
            other => other.map_err(|error| classify(&error)),
        }
    }

    async fn enter(&self, tx: &mut Self::Tx, entries: &[&Entry]) -> Result<HashSet<Digest>, Failure> {
        ledger::enter(tx, entries).await.map_err(|error| classify(&error))
    }

    async fn forget(&self, tx: &mut Self::Tx, entry: &Entry) -> Result<(), Failure> {
        let delete = sqlx::query("DELETE FROM jobqueue_ledger WHERE digest = ?").bind(entry.digest.to_vec());
        delete.execute(&mut **tx).await.map(drop).map_err(|error| classify(&error))
    }

    async fn insert(&self, tx: &mut Self::Tx, plan: &Plan, rows: &[BoundRow<'_>]) -> Result<(), Failure> {
        insert::rows(tx, plan, rows, self.packet).await
    }

    async fn insert_with_ids(
        &self,
        tx: &mut Self::Tx,
        plan: &Plan,
        rows: &[BoundRow<'_>],
    ) -> Result<Vec<Cell<'static>>, Failure> {
        insert::rows_with_ids(tx, plan, rows, self.packet).await
    }

    async fn insert_one(&self, tx: &mut Self::Tx, plan: &Plan, row: BoundRow<'_>) -> Result<RowOutcome, Failure> {
        insert::one(tx, plan, row).await
    }

    async fn run(&self, tx: &mut Self::Tx, statement: &'static str) -> Result<(), Failure> {
        tx.execute(sqlx::raw_sql(statement)).await.map(drop).map_err(|error| classify(&error))
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        match tx.commit().await.map_err(|error| classify(&error)) {
            // InnoDB checks rows when they are written: an error here is the server's.
            Err(Failure::Refused { words, .. }) => Err(Failure::Failing(words)),
            other => other,
        }
    }

    async fn rollback(&self, tx: Self::Tx) -> bool {
        let answer = tx.rollback().await;
        if let Err(error) = &answer {
            tracing::debug!(%error, "the rollback had no answer; the server does it when the connection ends");
        }
        answer.is_ok()
    }

    async fn rehearse(&self, tx: &mut Self::Tx, plan: &Plan) -> Result<(), Failure> {
        insert::rehearse(tx, plan).await.map_err(|error| classify(&error))
    }

    /// Tables have files of their own, which may lie elsewhere, each partition's too.
    async fn shares_disk(&self, plans: &[Plan]) -> Result<bool, Failure> {
        let pool = self.hosts.pool().await?;
        let targets = plans.iter().map(|plan| plan.target.as_str()).chain([LEDGER_TABLE]);
        for target in targets {
            let look = sqlx::raw_sql(AssertSqlSafe(format!("SHOW CREATE TABLE {target}")));
            let row = look.fetch_one(&pool).await.map_err(|error| classify(&error))?;
            let ddl: Vec<u8> = row.try_get_unchecked(1).map_err(|error| classify(&error))?;
            if ddl.windows(14).any(|word| word == b"DATA DIRECTORY") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn clarify(&self, failure: Failure) -> Failure {
        let Failure::Forbidden(words) = failure else { return failure };
        let ask = async {
            let mut connection = self.hosts.pool().await.ok()?.acquire().await.ok()?;
            MySql::takes_none(&mut connection, Target::ReadWrite).await.ok()?
        };
        if ask.await.is_some() { Failure::ReadOnly(words) } else { Failure::Forbidden(words) }
    }

    async fn table(&self, name: &str) -> Result<Option<Table>, Failure> {
        schema::table(&self.hosts.pool().await?, name).await.map_err(|error| classify(&error))
    }

    async fn table_names(&self) -> Result<Vec<String>, Failure> {
        schema::table_names(&self.hosts.pool().await?).await.map_err(|error| classify(&error))
    }

    async fn ensure_ledger(&self) -> Result<(), Failure> {
        // The look comes first: an account without the right to create tables may find it there.
        if self.table(LEDGER_TABLE).await?.is_some() {
            return Ok(());
        }
        let created = self.hosts.pool().await?.execute(sqlx::raw_sql(ledger_ddl(DatabaseKind::Mysql))).await;
        match created.map_err(|error| classify(&error)) {
            Ok(_) => Ok(()),
            Err(Failure::Denied(words)) => Err(Failure::Denied(format!(
                "{words}; the table {LEDGER_TABLE} is missing and this account may not create it: run what `jobqueue schema` prints"
            ))),
            Err(failure) => Err(failure),
        }
    }

    async fn prune_ledger(&self, age: Duration) -> Result<u64, Failure> {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        // Entries are numbered as they are written, so that the old ones are the first ones.
        let oldest = sqlx::query(
            "SELECT CAST(MAX(entry) AS UNSIGNED) FROM (SELECT entry, applied_at FROM jobqueue_ledger ORDER BY entry LIMIT ?) AS oldest \
             WHERE applied_at < CURRENT_TIMESTAMP - INTERVAL ? SECOND",
        );
        let row = oldest
            .bind(PRUNE_LIMIT)
            .bind(age)
            .fetch_one(&self.hosts.pool().await?)
            .await
            .map_err(|error| classify(&error))?;
        let Some(last) = row.try_get::<Option<u64>, _>(0).map_err(|error| classify(&error))? else { return Ok(0) };
        let delete = sqlx::query(
            "DELETE FROM jobqueue_ledger WHERE entry <= ? AND applied_at < CURRENT_TIMESTAMP - INTERVAL ? SECOND LIMIT ?",
        );
        let deleted = delete.bind(last).bind(age).bind(PRUNE_LIMIT).execute(&self.hosts.pool().await?).await;
        Ok(deleted.map_err(|error| classify(&error))?.rows_affected())
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
        let statement = format!("SELECT count(*) FROM {}", quote_table(DatabaseKind::Mysql, table));
        let row = sqlx::query(AssertSqlSafe(statement)).fetch_one(&self.hosts.pool().await?).await;
        let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
        Ok(u64::try_from(count).unwrap_or_default())
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
            let url: Url = format!("mysql://u:p@{host}/b").parse().unwrap();
            assert_eq!(connect_options(&url, TimeZone::default()).unwrap().get_host(), expected);
        }
    }
}
