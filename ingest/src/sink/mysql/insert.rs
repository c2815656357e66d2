//! MariaDB's and MySQL's statements for the ledger and for rows.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row as _, mysql::MySqlArguments, query::Query};

use super::error::{classify, is_duplicate};
use crate::{
    OnConflict,
    sink::{
        DatabaseKind,
        chunks::{chunks, floor_power, placeholders},
        convert::Cell,
        failure::Failure,
        layout::{Plan, quote},
        ledger::{Digest, Entry},
        store::Landed,
        units::BoundRow,
    },
};

/// What the server sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// `auto_increment_increment`: the distance between two generated ids.
    pub(super) id_step: u64,
    /// `max_allowed_packet`, bytes.
    pub(super) packet: usize,
}

/// Rows per statement: more gains nothing measurable, and holds more memory for each prepared statement.
const MOST_ROWS: usize = 256;

/// A prepared statement takes at most 65,535 parameters.
const MOST_PARAMETERS: usize = 65_535;

/// Bytes per statement, well below the smallest usual `max_allowed_packet`.
const MOST_BYTES: usize = 4 << 20;

type Statement = Query<'static, MySql, MySqlArguments>;

fn name(column: &str) -> String {
    quote(DatabaseKind::Mysql, column)
}

/// `INSERT IGNORE` would also let texts be cut, and the affected rows of ON DUPLICATE KEY do not tell which were new. A
/// plain INSERT waits for a concurrent writer of the same entry and fails if that one commits; the statement alone is
/// then rolled back, and the entries that are there are read under a lock.
pub(super) async fn enter(
    connection: &mut MySqlConnection,
    entries: &[&Entry],
) -> Result<HashSet<Digest>, sqlx::Error> {
    let mut fresh = HashSet::with_capacity(entries.len());
    let mut rest = entries;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(floor_power(rest.len().min(MOST_ROWS)));
        enter_chunk(connection, chunk, &mut fresh).await?;
        rest = after;
    }
    Ok(fresh)
}

async fn enter_chunk(
    connection: &mut MySqlConnection,
    chunk: &[&Entry],
    fresh: &mut HashSet<Digest>,
) -> Result<(), sqlx::Error> {
    let mut unknown: Vec<&Entry> = chunk.to_vec();
    while !unknown.is_empty() {
        match insert_entries(connection, &unknown).await {
            Ok(()) => {
                fresh.extend(unknown.iter().map(|entry| entry.digest));
                return Ok(());
            }
            Err(error) if is_duplicate(&error) => {
                let there = present(connection, &unknown).await?;
                if there.is_empty() {
                    return Err(error);
                }
                unknown.retain(|entry| !there.contains(&entry.digest));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn insert_entries(connection: &mut MySqlConnection, entries: &[&Entry]) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO jobqueue_ledger (digest, queue, job_id, created_at, generation) VALUES {}",
        placeholders(entries.len(), 5)
    );
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement)).persistent(entries.len().is_power_of_two());
    for entry in entries {
        query = query
            .bind(entry.digest.as_slice())
            .bind(entry.queue.as_str())
            .bind(entry.job_id.as_str())
            .bind(entry.created_at.as_str())
            .bind(entry.generation);
    }
    query.execute(connection).await.map(drop)
}

async fn present(connection: &mut MySqlConnection, entries: &[&Entry]) -> Result<HashSet<Digest>, sqlx::Error> {
    let marks = vec!["?"; entries.len()].join(",");
    let statement = format!("SELECT digest FROM jobqueue_ledger WHERE digest IN ({marks}) LOCK IN SHARE MODE");
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    for entry in entries {
        query = query.bind(entry.digest.as_slice());
    }
    let mut there = HashSet::new();
    for row in query.fetch_all(connection).await? {
        let digest: Vec<u8> = row.try_get(0)?;
        there.extend(Digest::try_from(digest.as_slice()));
    }
    Ok(there)
}

/// Writes all rows, and returns their generated ids: those of one statement are consecutive
/// (<https://dev.mysql.com/doc/refman/8.4/en/innodb-auto-increment-handling.html>, "simple inserts").
pub(super) async fn rows(
    connection: &mut MySqlConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    limits: &Limits,
) -> Result<Vec<Cell<'static>>, Failure> {
    let most = MOST_ROWS.min(MOST_PARAMETERS / plan.columns.len().max(1));
    let mut ids = Vec::with_capacity(rows.len());
    for chunk in chunks(rows, most, MOST_BYTES.min(limits.packet / 2)) {
        // The server would close the connection.
        if let [row] = chunk
            && row.size() + 4096 > limits.packet
        {
            return Err(Failure::refused(format!(
                "a row of {} bytes is larger than max_allowed_packet ({})",
                row.size(),
                limits.packet
            )));
        }
        let statement =
            format!("{} VALUES {}{}", head(plan), placeholders(chunk.len(), plan.columns.len()), conflict(plan));
        let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
        for row in chunk {
            query = bind_row(query, plan, *row);
        }
        let result = query.execute(&mut *connection).await.map_err(|error| classify(&error))?;
        let first = result.last_insert_id();
        ids.extend((0..chunk.len() as u64).map(|index| Cell::UInt(first + index * limits.id_step)));
    }
    Ok(ids)
}

fn head(plan: &Plan) -> String {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    format!("INSERT INTO {} ({})", plan.target, names.join(", "))
}

fn conflict(plan: &Plan) -> String {
    match plan.on_conflict {
        OnConflict::Fail => String::new(),
        OnConflict::Ignore => match plan.columns.first() {
            Some(column) => format!(" ON DUPLICATE KEY UPDATE {0} = {0}", name(&column.name)),
            None => String::new(),
        },
        OnConflict::Update => format!(" ON DUPLICATE KEY UPDATE {}", assignments(plan).join(", ")),
    }
}

fn assignments(plan: &Plan) -> Vec<String> {
    let updated = plan.columns.iter().filter(|column| !plan.key.contains(&column.name));
    let mut assignments: Vec<String> = updated.map(|column| format!("{0} = VALUES({0})", name(&column.name))).collect();
    if assignments.is_empty() {
        assignments = plan.key.iter().map(|column| format!("{0} = {0}", name(column))).collect();
    }
    assignments
}

/// Writes one row by a plain INSERT; where it meets the recipe's key, the row that is there decides.
pub(super) async fn one(connection: &mut MySqlConnection, plan: &Plan, row: BoundRow<'_>) -> Result<Landed, Failure> {
    let statement = format!("{} VALUES {}", head(plan), placeholders(1, plan.columns.len()));
    let inserted = bind_row(sqlx::query(AssertSqlSafe(statement)), plan, row).execute(&mut *connection).await;
    let error = match inserted {
        Ok(result) => {
            let id = plan.id.as_ref().map(|id| match id.given {
                Some(column) => row.cell(column).to_owned_cell(),
                None => Cell::UInt(result.last_insert_id()),
            });
            return Ok(Landed::There(id));
        }
        Err(error) => error,
    };
    if plan.on_conflict == OnConflict::Fail || !is_duplicate(&error) {
        return Err(classify(&error));
    }
    // Only the recipe's own key may count; Ignore without a key counts any.
    if !plan.key.is_empty() && !key_is_taken(connection, plan, row).await.map_err(|error| classify(&error))? {
        return Err(classify(&error));
    }
    match plan.on_conflict {
        OnConflict::Update => update(connection, plan, row).await.map_err(|error| classify(&error)),
        OnConflict::Ignore | OnConflict::Fail => Ok(Landed::Ignored),
    }
}

/// Columns of the recipe's key, as places in the row, and the condition that a row has it.
fn by_key(plan: &Plan) -> (Vec<usize>, String) {
    let place = |wanted: &String| plan.columns.iter().position(|column| column.name == *wanted);
    let condition: Vec<String> = plan.key.iter().map(|column| format!("{} = ?", name(column))).collect();
    (plan.key.iter().filter_map(place).collect(), condition.join(" AND "))
}

/// Whether a row with the recipe's key is there.
async fn key_is_taken(connection: &mut MySqlConnection, plan: &Plan, row: BoundRow<'_>) -> Result<bool, sqlx::Error> {
    let (keys, condition) = by_key(plan);
    let statement = format!("SELECT 1 FROM {} WHERE {condition} LOCK IN SHARE MODE", plan.target);
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
    for index in &keys {
        query = bind(query, row.cell(*index));
    }
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Inserts no row, and reads none where a key decides.
pub(super) async fn rehearse(connection: &mut MySqlConnection, plan: &Plan) -> Result<(), sqlx::Error> {
    let nothing = vec!["NULL"; plan.columns.len()].join(",");
    let insert = format!("{} SELECT {nothing} FROM DUAL WHERE FALSE{}", head(plan), conflict(plan));
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *connection).await?;
    if let (true, Some(column)) = (plan.on_conflict != OnConflict::Fail, plan.key.first()) {
        let select = format!("SELECT {} FROM {} WHERE FALSE", name(column), plan.target);
        sqlx::raw_sql(AssertSqlSafe(select)).fetch_all(connection).await?;
    }
    Ok(())
}

/// Gives the row that has the key the new values, and returns its id.
async fn update(connection: &mut MySqlConnection, plan: &Plan, row: BoundRow<'_>) -> Result<Landed, sqlx::Error> {
    let (keys, condition) = by_key(plan);
    let others: Vec<usize> = (0..plan.columns.len()).filter(|index| !keys.contains(index)).collect();
    if !others.is_empty() {
        let set: Vec<String> = others.iter().map(|index| format!("{} = ?", name(&plan.columns[*index].name))).collect();
        let statement = format!("UPDATE {} SET {} WHERE {condition}", plan.target, set.join(", "));
        let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
        for index in others.iter().chain(&keys) {
            query = bind(query, row.cell(*index));
        }
        query.execute(&mut *connection).await?;
    }
    let Some(id) = &plan.id else { return Ok(Landed::There(None)) };
    let column = name(&id.column.name);
    let statement = format!("SELECT CAST({column} AS CHAR) FROM {} WHERE {condition} LOCK IN SHARE MODE", plan.target);
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
    for index in &keys {
        query = bind(query, row.cell(*index));
    }
    let found: String = query.fetch_one(connection).await?.try_get(0)?;
    Ok(Landed::There(Some(Cell::Text(found.into()))))
}

fn bind_row(mut query: Statement, plan: &Plan, row: BoundRow<'_>) -> Statement {
    for column in 0..plan.columns.len() {
        query = bind(query, row.cell(column));
    }
    query
}

fn bind(query: Statement, cell: &Cell<'_>) -> Statement {
    match cell {
        Cell::Null | Cell::ParentId => query.bind(None::<String>),
        Cell::Bool(flag) => query.bind(*flag),
        Cell::Int(number) => query.bind(*number),
        Cell::UInt(number) => query.bind(*number),
        Cell::Float(number) => query.bind(*number),
        Cell::Text(text) => query.bind(&**text),
        Cell::Bytes(bytes) => query.bind(&**bytes),
    }
}
