//! The databases themselves: numbers written by plain SQL, one statement each, and tables read as text.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection, Row as _, SqliteConnection};

use crate::{Kind, Written};

/// One database.
pub(crate) struct Plain {
    pub(crate) url: String,
    connection: Connection,
    _directory: Option<tempfile::TempDir>,
}

enum Connection {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Plain {
    pub(crate) async fn postgres() -> Self {
        let url = jobqueue_testkit::postgres().database();
        let connection = Connection::Postgres(PgConnection::connect(&url).await.unwrap());
        Self { url, connection, _directory: None }
    }

    pub(crate) async fn mariadb() -> Self {
        let url = jobqueue_testkit::mariadb().database();
        let mut connection = MySqlConnection::connect(&url).await.unwrap();
        connection.execute("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES'").await.unwrap();
        Self { url, connection: Connection::Mysql(connection), _directory: None }
    }

    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/oracle.sqlite", directory.path().display());
        let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().create_if_missing(true);
        let connection = Connection::Sqlite(SqliteConnection::connect_with(&options).await.unwrap());
        Self { url, connection, _directory: Some(directory) }
    }

    /// What plain SQL leaves of each number in the table beside `table`; nothing where it is refused.
    pub(crate) async fn write(&mut self, kind: &Kind, table: &str, literals: &[String]) -> HashMap<usize, String> {
        let (begin, save, undo) = match self.connection {
            Connection::Postgres(_) => ("BEGIN", "SAVEPOINT s", "ROLLBACK TO SAVEPOINT s"),
            Connection::Mysql(_) | Connection::Sqlite(_) => ("BEGIN", "", ""),
        };
        self.run(begin).await.unwrap();
        for (n, literal) in literals.iter().enumerate() {
            let value = written(kind.2, literal);
            self.run(save).await.unwrap();
            if self.run(&format!("INSERT INTO plain_{table} VALUES ({n}, {value})")).await.is_err() {
                self.run(undo).await.unwrap();
            }
        }
        self.run("COMMIT").await.unwrap();
        self.read(&format!("plain_{table}"), kind.1).await
    }

    async fn run(&mut self, statement: &str) -> Result<(), sqlx::Error> {
        if statement.is_empty() {
            return Ok(());
        }
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        match &mut self.connection {
            Connection::Postgres(connection) => connection.execute(statement).await.map(drop),
            Connection::Mysql(connection) => connection.execute(statement).await.map(drop),
            Connection::Sqlite(connection) => connection.execute(statement).await.map(drop),
        }
    }

    /// The values of `table` by row, as the expression `shown` prints them.
    pub(crate) async fn read(&mut self, table: &str, shown: &str) -> HashMap<usize, String> {
        let query = AssertSqlSafe(format!("SELECT n, {shown} FROM {table}"));
        let pair = |n: i32, value: Option<String>| (usize::try_from(n).unwrap(), value.unwrap_or_default());
        match &mut self.connection {
            Connection::Postgres(connection) => {
                let rows = sqlx::query(query).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| pair(row.get(0), row.get(1))).collect()
            }
            Connection::Mysql(connection) => {
                let rows = sqlx::query(query).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| pair(row.get(0), row.get(1))).collect()
            }
            Connection::Sqlite(connection) => {
                let rows = sqlx::query(query).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| pair(row.get(0), row.get(1))).collect()
            }
        }
    }
}

fn written(how: Written, literal: &str) -> String {
    match how {
        Written::Bare => literal.to_owned(),
        Written::QuotedExponent if !literal.contains(['e', 'E']) => literal.to_owned(),
        Written::Quoted | Written::QuotedExponent => format!("'{literal}'"),
        Written::Within(before, after) => format!("{before}{literal}{after}"),
    }
}
