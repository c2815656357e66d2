//! Statements with arguments.

use sqlx::{Postgres, SqlSafeStr, postgres::PgArguments, query::Query};

/// A statement with arguments, inside of a transaction. It is not kept under a name: a pooler may give the next
/// transaction a connection where that name is of another statement, of another worker.
pub(super) fn statement<'a>(words: impl SqlSafeStr) -> Query<'a, Postgres, PgArguments> {
    sqlx::query(words).persistent(false)
}
