//! SQLite's statements for the ledger and for rows.

use std::collections::HashSet;

use sqlx::{
    AssertSqlSafe, Row as _, Sqlite, SqliteConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::error::classify;
use crate::OnConflict;
use crate::sink::{
    DatabaseKind,
    chunks::{chunks, placeholders, runs},
    convert::Cell,
    failure::Failure,
    layout::{Id, Plan, on_conflict, quote},
    ledger::{Digest, Entry},
    prepared::BoundRow,
    schema::Filled,
    store::{RowOutcome, id_changed, unpaired, without_id},
};

/// Rows per statement. Each one is a message to the driver's thread, which is what a longer statement saves.
const MOST_ROWS: usize = 256;

/// SQLite's default bound on parameters is 32,766.
const MOST_PARAMETERS: usize = 32_766;

type Statement = Query<'static, Sqlite, SqliteArguments>;

fn name(column: &str) -> String {
    quote(DatabaseKind::Sqlite, column)
}

pub(super) async fn enter(
    connection: &mut SqliteConnection,
    entries: &[&Entry],
) -> Result<HashSet<Digest>, sqlx::Error> {
    let mut fresh = HashSet::with_capacity(entries.len());
    for run in runs(entries, MOST_ROWS, |_| true) {
        let statement = format!(
            "INSERT INTO jobqueue_ledger (digest, queue, job_id, created_at, generation) VALUES {} \
             ON CONFLICT DO NOTHING RETURNING digest",
            placeholders(run.len(), 5)
        );
        let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
        for entry in run {
            query = query
                .bind(entry.digest.as_slice())
                .bind(entry.queue.as_str())
                .bind(entry.job_id.as_str())
                .bind(entry.created_at.as_str())
                .bind(entry.generation);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let digest: &[u8] = row.try_get(0)?;
            fresh.extend(Digest::try_from(digest));
        }
    }
    Ok(fresh)
}

/// All rows, in few statements; `ids` adds explicit values for the id column.
pub(super) async fn rows(
    connection: &mut SqliteConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    ids: Option<(&Id, i64)>,
) -> Result<(), sqlx::Error> {
    let mut names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    names.extend(ids.iter().map(|(id, _)| name(&id.column.name)));
    let most = MOST_ROWS.min(MOST_PARAMETERS / names.len().max(1));
    let mut next = ids.map(|(_, first)| first);
    for chunk in chunks(rows, most, usize::MAX) {
        let statement = format!(
            "INSERT INTO {} ({}) VALUES {}{}",
            plan.target,
            names.join(", "),
            placeholders(chunk.len(), names.len()),
            on_conflict(DatabaseKind::Sqlite, plan)
        );
        let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
        for row in chunk {
            query = bind_row(query, plan, *row);
            if let Some(id) = &mut next {
                query = query.bind(*id);
                *id += 1;
            }
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Inserts no row.
pub(super) async fn rehearse(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), sqlx::Error> {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    let statement = format!(
        "INSERT INTO {} ({}) SELECT {} WHERE 0{}",
        plan.target,
        names.join(", "),
        vec!["NULL"; names.len()].join(","),
        on_conflict(DatabaseKind::Sqlite, plan)
    );
    sqlx::query(AssertSqlSafe(statement)).persistent(false).execute(connection).await.map(drop)
}

/// The write lock is held, so that the ids above the largest one are ours to give, where no trigger gives any.
/// `AUTOINCREMENT` remembers the largest that ever was; an explicit id moves that too.
pub(super) async fn rows_with_ids(
    connection: &mut SqliteConnection,
    plan: &Plan,
    bound: &[BoundRow<'_>],
) -> Result<Vec<Cell<'static>>, Failure> {
    let Some(id) = &plan.id else { return Ok(Vec::new()) };
    let drawn = id.column.draw.as_ref().filter(|_| !id.guarded && id.from_recipe.is_none());
    if let Some(remembered) = drawn {
        let statement = format!("SELECT MAX(COALESCE((SELECT MAX(rowid) FROM {}), 0), {remembered})", plan.target);
        let last = sqlx::query(AssertSqlSafe(statement)).fetch_one(&mut *connection).await;
        let last: i64 = last.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
        let count = i64::try_from(bound.len()).unwrap_or(i64::MAX);
        if last.checked_add(count).is_some() {
            rows(connection, plan, bound, Some((id, last + 1))).await.map_err(|error| classify(&error))?;
            return Ok((last + 1..=last + count).map(Cell::Int).collect());
        }
    }
    let mut ids = Vec::with_capacity(bound.len());
    for row in bound {
        match one(connection, plan, *row).await? {
            RowOutcome::Present(id) => ids.extend(id),
            RowOutcome::Ignored => return Err(unpaired(1)),
        }
    }
    Ok(ids)
}

/// One row under the plan's policy.
pub(super) async fn one(
    connection: &mut SqliteConnection,
    plan: &Plan,
    row: BoundRow<'_>,
) -> Result<RowOutcome, Failure> {
    let Some(id) = &plan.id else {
        let returned = insert_one(connection, plan, "INSERT", row, "''").await.map_err(|error| classify(&error))?;
        return Ok(if returned.is_some() { RowOutcome::Present(None) } else { RowOutcome::Ignored });
    };
    // What it returns is the row before its AFTER triggers: they may set the id, and leave the row's number.
    let looked_up = id.guarded || (id.looked_up && plan.on_conflict == OnConflict::Update);
    let handle = match id.rowid {
        Some(rowid) if looked_up && id.column.filled != Filled::Generated => rowid.to_owned(),
        _ => name(&id.column.name),
    };
    let Some(returned) =
        insert_one(connection, plan, "INSERT", row, &handle).await.map_err(|error| classify(&error))?
    else {
        return if plan.on_conflict == OnConflict::Ignore && collides(connection, plan, row, id).await? {
            Ok(RowOutcome::Ignored)
        } else {
            Err(unpaired(1))
        };
    };
    let found = if looked_up {
        let words = format!("SELECT {0}, typeof({0}) FROM {1} WHERE {handle} = ?", name(&id.column.name), plan.target);
        let found = bind_id(sqlx::query(AssertSqlSafe(words)), &returned).fetch_optional(connection).await;
        let found = found.and_then(|row| row.map(|row| read(&row)).transpose()).map_err(|error| classify(&error))?;
        found.ok_or_else(|| if returned == Cell::Null { without_id(id) } else { id_changed(id) })?
    } else {
        returned
    };
    if found == Cell::Null { Err(without_id(id)) } else { Ok(RowOutcome::Present(Some(found))) }
}

/// Whether the row is left out for its key, and not by a trigger: without the policy, or one of the table's own, it is
/// an error.
async fn collides(connection: &mut SqliteConnection, plan: &Plan, row: BoundRow<'_>, id: &Id) -> Result<bool, Failure> {
    if !id.guarded {
        return Ok(true);
    }
    let strict = Plan { on_conflict: OnConflict::Fail, ..plan.clone() };
    match insert_one(connection, &strict, "INSERT OR ABORT", row, "''").await {
        Ok(_) => Ok(false),
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) => {
            Ok(true)
        }
        Err(error) => Err(classify(&error)),
    }
}

/// What `returned`, an expression, gives for the row; `None` where the row was not written.
async fn insert_one(
    connection: &mut SqliteConnection,
    plan: &Plan,
    verb: &str,
    row: BoundRow<'_>,
    returned: &str,
) -> Result<Option<Cell<'static>>, sqlx::Error> {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    let statement = format!(
        "{verb} INTO {} ({}) VALUES {}{} RETURNING {returned}, typeof({returned})",
        plan.target,
        names.join(", "),
        placeholders(1, names.len()),
        on_conflict(DatabaseKind::Sqlite, plan)
    );
    let query = bind_row(sqlx::query(AssertSqlSafe(statement)), plan, row);
    query.fetch_all(connection).await?.first().map(read).transpose()
}

/// A value and the name of its type.
fn read(row: &SqliteRow) -> Result<Cell<'static>, sqlx::Error> {
    let kind: String = row.try_get(1)?;
    Ok(match kind.as_str() {
        "null" => Cell::Null,
        "integer" => Cell::Int(row.try_get(0)?),
        "real" => Cell::Float(row.try_get(0)?),
        "blob" => Cell::Bytes(row.try_get::<Vec<u8>, _>(0)?.into()),
        _ => Cell::Text(row.try_get::<String, _>(0)?.into()),
    })
}

/// What [`read`] gave, bound.
fn bind_id(query: Statement, id: &Cell<'_>) -> Statement {
    match id {
        Cell::Int(number) => query.bind(*number),
        Cell::Float(number) => query.bind(*number),
        Cell::Bytes(bytes) => query.bind(&**bytes),
        Cell::Text(text) => query.bind(&**text),
        _ => query.bind(None::<&str>),
    }
}

fn bind_row(mut query: Statement, plan: &Plan, row: BoundRow<'_>) -> Statement {
    for column in 0..plan.columns.len() {
        query = match row.cell(column) {
            Cell::Null | Cell::ParentId => query.bind(None::<&str>),
            Cell::Bool(flag) => query.bind(*flag),
            Cell::Int(number) => query.bind(*number),
            // The columns' ranges end with i64.
            Cell::UInt(number) => query.bind(i64::try_from(*number).unwrap_or(i64::MAX)),
            Cell::Float(number) => query.bind(*number),
            Cell::Text(text) => query.bind(&**text),
            Cell::Bytes(bytes) => query.bind(&**bytes),
        };
    }
    query
}
