//! The ids of new rows: as the statement returns them, or as the table has them afterwards.

use sqlx::{AssertSqlSafe, MySqlConnection, Row as _, mysql::MySqlRow};

use super::{
    error::classify,
    statement::{Statement, bind, name},
};
use crate::sink::{
    convert::Cell,
    failure::Failure,
    layout::{Id, Plan},
    prepared::BoundRow,
    schema::Kind,
    store::{id_changed, unpaired, without_id},
};

/// The clause that returns the ids of new rows.
pub(super) fn returning(id: &Id) -> String {
    format!(" RETURNING {}", value_of(id))
}

/// The id as an expression of a type that [`id_in`] reads.
pub(super) fn value_of(id: &Id) -> String {
    let column = name(&id.column.name);
    match id.column.kind {
        Kind::Integer { min, .. } if min < 0 => format!("CAST({column} AS SIGNED)"),
        Kind::Integer { .. } => format!("CAST({column} AS UNSIGNED)"),
        Kind::Bytes { .. } => column,
        _ => format!("CAST({column} AS CHAR)"),
    }
}

/// Reads the id from the first column of a row; an error where it is NULL.
pub(super) fn id_in(row: &MySqlRow, id: &Id) -> Result<Cell<'static>, Failure> {
    let cell = match id.column.kind {
        Kind::Integer { min, .. } if min < 0 => row.try_get::<Option<i64>, _>(0).map(|id| id.map(Cell::Int)),
        Kind::Integer { .. } => row.try_get::<Option<u64>, _>(0).map(|id| id.map(Cell::UInt)),
        Kind::Bytes { .. } => row.try_get::<Option<Vec<u8>>, _>(0).map(|id| id.map(|id| Cell::Bytes(id.into()))),
        _ => row.try_get::<Option<String>, _>(0).map(|id| id.map(|id| Cell::Text(id.into()))),
    };
    cell.map_err(|error| classify(&error))?.ok_or_else(|| without_id(id))
}

/// The id of the row that was just written, as the table has it: the one that the recipe gave, or `generated`. Where 0
/// is given the server generates one.
pub(super) async fn look_up(
    connection: &mut MySqlConnection,
    plan: &Plan,
    id: &Id,
    row: BoundRow<'_>,
    generated: u64,
) -> Result<Cell<'static>, Failure> {
    let given = id.from_recipe.map(|column| row.cell(column));
    let given = given.filter(|cell| generated == 0 || !matches!(cell, Cell::Int(0) | Cell::UInt(0)));
    let words = format!("SELECT {} FROM {} WHERE {} = ?", value_of(id), plan.target, name(&id.column.name));
    let query: Statement = sqlx::query(AssertSqlSafe(words));
    let query = match given {
        Some(cell) => bind(query, cell),
        None => query.bind(generated),
    };
    match query.fetch_optional(connection).await.map_err(|error| classify(&error))? {
        Some(found) => id_in(&found, id),
        None => Err(id_changed(id)),
    }
}

/// The ids of one statement are `first` and those that follow it
/// (<https://dev.mysql.com/doc/refman/8.4/en/innodb-auto-increment-handling.html>, "simple inserts"), at the distance
/// that this connection has now. Rows with all of them have to be there.
pub(super) async fn counted(
    connection: &mut MySqlConnection,
    plan: &Plan,
    id: &Id,
    first: u64,
    rows: usize,
) -> Result<Vec<Cell<'static>>, Failure> {
    let column = name(&id.column.name);
    let words = format!(
        "SELECT COUNT(*), CAST(@@SESSION.auto_increment_increment AS UNSIGNED) FROM {} \
         WHERE {column} BETWEEN ? AND ? + ? * @@SESSION.auto_increment_increment \
         AND (CAST({column} AS SIGNED) - CAST(? AS SIGNED)) % @@SESSION.auto_increment_increment = 0",
        plan.target
    );
    let query: Statement = sqlx::query(AssertSqlSafe(words));
    let query = query.bind(first).bind(first).bind(rows.saturating_sub(1) as u64).bind(first);
    let found = query.fetch_one(connection).await;
    let found: (i64, u64) =
        found.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?))).map_err(|error| classify(&error))?;
    if first == 0 || usize::try_from(found.0) != Ok(rows) {
        return Err(unpaired(rows));
    }
    Ok((0..rows as u64).map(|index| Cell::UInt(first + index * found.1)).collect())
}
