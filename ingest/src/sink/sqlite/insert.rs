//! SQLite's statements for the ledger and for rows.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

use crate::sink::{
    DatabaseKind,
    chunks::{chunks, floor_power, placeholders},
    convert::Cell,
    layout::{Id, Plan, on_conflict, quote},
    ledger::{Digest, Entry},
    store::Landed,
    units::BoundRow,
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
    let mut rest = entries;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(floor_power(rest.len().min(MOST_ROWS)));
        let statement = format!(
            "INSERT INTO jobqueue_ledger (digest, queue, job_id, created_at, generation) VALUES {} \
             ON CONFLICT DO NOTHING RETURNING digest",
            placeholders(chunk.len(), 5)
        );
        let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
        for entry in chunk {
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
        rest = after;
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

/// The write lock is held, so that the ids above the largest one are ours to give. `AUTOINCREMENT` remembers the
/// largest that ever was; an explicit id moves that too.
pub(super) async fn rows_with_ids(
    connection: &mut SqliteConnection,
    plan: &Plan,
    bound: &[BoundRow<'_>],
) -> Result<Vec<Cell<'static>>, sqlx::Error> {
    let Some(id) = &plan.id else { return Ok(Vec::new()) };
    if let Some(remembered) = &id.column.draw {
        let statement = format!("SELECT MAX(COALESCE((SELECT MAX(rowid) FROM {}), 0), {remembered})", plan.target);
        let last: i64 = sqlx::query(AssertSqlSafe(statement)).fetch_one(&mut *connection).await?.try_get(0)?;
        let count = i64::try_from(bound.len()).unwrap_or(i64::MAX);
        if last.checked_add(count).is_some() {
            rows(connection, plan, bound, Some((id, last + 1))).await?;
            return Ok((last + 1..=last + count).map(Cell::Int).collect());
        }
    }
    let mut ids = Vec::with_capacity(bound.len());
    for row in bound {
        match one(connection, plan, *row).await? {
            Landed::There(Some(id)) => ids.push(id),
            Landed::There(None) | Landed::Ignored => return Err(sqlx::Error::RowNotFound),
        }
    }
    Ok(ids)
}

/// One row under the plan's policy.
pub(super) async fn one(
    connection: &mut SqliteConnection,
    plan: &Plan,
    row: BoundRow<'_>,
) -> Result<Landed, sqlx::Error> {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    let returned = plan.id.as_ref().map_or_else(|| "''".into(), |id| name(&id.column.name));
    let statement = format!(
        "INSERT INTO {} ({}) VALUES {}{} RETURNING {returned}, typeof({returned})",
        plan.target,
        names.join(", "),
        placeholders(1, names.len()),
        on_conflict(DatabaseKind::Sqlite, plan)
    );
    let query = bind_row(sqlx::query(AssertSqlSafe(statement)), plan, row);
    let Some(found) = query.fetch_all(connection).await?.into_iter().next() else { return Ok(Landed::Ignored) };
    if plan.id.is_none() {
        return Ok(Landed::There(None));
    }
    let kind: String = found.try_get(1)?;
    Ok(Landed::There(Some(match kind.as_str() {
        "integer" => Cell::Int(found.try_get(0)?),
        "blob" => Cell::Bytes(found.try_get::<Vec<u8>, _>(0)?.into()),
        _ => Cell::Text(found.try_get::<String, _>(0)?.into()),
    })))
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
