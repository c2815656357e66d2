//! Opens the sink that a URL names.

use super::{DatabaseKind, DatabaseUrl, Sink, SinkError, SinkOptions, mysql, postgres, sqlite};

/// Opens a database. `Err` is [`SinkError::Unavailable`] where it may be tried again.
pub async fn connect(url: &DatabaseUrl, options: SinkOptions) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match url.kind() {
        DatabaseKind::Postgres => Box::new(postgres::PostgresSink::connect(url, options).await?),
        DatabaseKind::Mysql => Box::new(mysql::MysqlSink::connect(url, options).await?),
        DatabaseKind::Sqlite => Box::new(sqlite::SqliteSink::connect(url, options).await?),
    })
}

/// Runs a script of statements (a schema, say). An SQLite file is created if it is missing.
pub async fn run_script(url: &DatabaseUrl, script: &str) -> Result<(), SinkError> {
    match url.kind() {
        DatabaseKind::Postgres => postgres::run_script(url, script).await,
        DatabaseKind::Mysql => mysql::run_script(url, script).await,
        DatabaseKind::Sqlite => sqlite::run_script(url, script).await,
    }
}
