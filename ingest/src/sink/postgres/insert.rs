//! PostgreSQL's statements for the ledger and for rows.
//!
//! Values travel as text and are cast to the column's type without its length, so that the assignment checks the
//! length instead of an explicit cast cutting the value.

use std::{collections::HashSet, fmt::Write as _};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::{error::classify, statement::statement};
use crate::{
    OnConflict,
    sink::{
        DatabaseKind,
        convert::Cell,
        failure::Failure,
        layout::{Id, Plan, on_conflict, quote},
        ledger::{Digest, Entry},
        prepared::BoundRow,
        schema::{Column, Filled},
        store::{RowOutcome, id_changed, unpaired, without_id},
    },
};

fn name(column: &str) -> String {
    quote(DatabaseKind::Postgres, column)
}

/// Writes the entries; returns those that were not there.
pub(super) async fn enter(connection: &mut PgConnection, entries: &[&Entry]) -> Result<HashSet<Digest>, sqlx::Error> {
    let fresh = insert_entries(connection, entries).await?;
    if let (true, [found, ..]) = (fresh.is_empty(), entries) {
        wait_for_standbys(connection, found).await?;
    }
    Ok(fresh)
}

/// The conflict clause waits for a concurrent writer of the same entry, so that exactly one of the two sees it as new.
async fn insert_entries(connection: &mut PgConnection, entries: &[&Entry]) -> Result<HashSet<Digest>, sqlx::Error> {
    let entered = statement(
        "INSERT INTO jobqueue_ledger (digest, queue, job_id, created_at, generation) \
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[]) \
         ON CONFLICT DO NOTHING RETURNING digest",
    )
    .bind(entries.iter().map(|entry| entry.digest.as_slice()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.queue.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.job_id.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.created_at.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.generation).collect::<Vec<_>>());
    let mut fresh = HashSet::with_capacity(entries.len());
    for row in entered.fetch_all(connection).await? {
        let digest: &[u8] = row.try_get(0)?;
        fresh.extend(Digest::try_from(digest));
    }
    Ok(fresh)
}

/// An entry that is found may be on this server alone: PostgreSQL lets it be seen when the wait for a synchronous standby
/// is cut off. A transaction that writes nothing does not wait either, so that this one writes an entry and takes it
/// back: its commit then says that the standby has all that was before.
async fn wait_for_standbys(connection: &mut PgConnection, found: &Entry) -> Result<(), sqlx::Error> {
    let look = sqlx::raw_sql("SELECT 1 WHERE current_setting('synchronous_standby_names') <> ''");
    if look.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(());
    }
    let mark = Entry { digest: rand::random(), ..found.clone() };
    insert_entries(&mut *connection, &[&mark]).await?;
    forget(connection, &mark).await
}

/// Takes an entry back that was written in the same transaction.
pub(super) async fn forget(connection: &mut PgConnection, entry: &Entry) -> Result<(), sqlx::Error> {
    let delete = statement("DELETE FROM jobqueue_ledger WHERE digest = $1").bind(entry.digest.as_slice());
    delete.execute(connection).await.map(drop)
}

/// All rows in one statement; `ids` adds explicit values for the id column.
///
/// COPY would take less of the server's time, but the driver (sqlx 0.9.0) leaves Nagle's algorithm on, and COPY sends two
/// packets one after the other: the second may wait 40 ms for the answer to the first
/// (<https://github.com/launchbadge/sqlx/issues/4335>).
pub(super) async fn rows(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    ids: Option<(&Id, &[String])>,
) -> Result<(), sqlx::Error> {
    unnest(connection, plan, rows, ids, None).await.map(drop)
}

/// A value in the form that the type's input function reads; `None` is NULL.
fn text(cell: &Cell<'_>) -> Option<String> {
    Some(match cell {
        Cell::Null | Cell::ParentId => return None,
        Cell::Bool(flag) => flag.to_string(),
        Cell::Int(number) => number.to_string(),
        Cell::UInt(number) => number.to_string(),
        Cell::Float(number) if number.is_infinite() => if *number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Cell::Float(number) => number.to_string(),
        Cell::Text(text) => text.clone().into_owned(),
        Cell::Bytes(bytes) => {
            let mut hex = String::with_capacity(2 + bytes.len() * 2);
            hex.push_str("\\x");
            for byte in bytes.iter() {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            hex
        }
    })
}

/// One statement for all rows. With `returned`, each row's id comes back, in order: rows are written, and returned, as
/// the sorted SELECT gives them.
async fn unnest(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    ids: Option<(&Id, &[String])>,
    returned: Option<&Id>,
) -> Result<Vec<Option<String>>, sqlx::Error> {
    let columns: Vec<&Column> = plan.columns.iter().chain(ids.iter().map(|(id, _)| &id.column)).collect();
    let names: Vec<String> = columns.iter().map(|column| name(&column.name)).collect();
    let arrays: Vec<String> = (1..=names.len()).map(|number| format!("${number}::text[]")).collect();
    let fields: Vec<String> = (0..names.len()).map(|number| format!("c{number}")).collect();
    let casts: Vec<String> =
        fields.iter().zip(&columns).map(|(field, column)| format!("v.{field}::{}", column.cast)).collect();
    let (order, returning) = match returned {
        Some(id) => (" ORDER BY v.place", format!(" RETURNING {}", text_of(id))),
        None => ("", String::new()),
    };
    let words = format!(
        "INSERT INTO {} ({}){} SELECT {} FROM unnest({}) WITH ORDINALITY AS v ({}, place){order}{}{returning}",
        plan.target,
        names.join(", "),
        overriding(columns.iter().copied()),
        casts.join(", "),
        arrays.join(", "),
        fields.join(", "),
        on_conflict(DatabaseKind::Postgres, plan),
    );
    let mut query = statement(AssertSqlSafe(words));
    for column in 0..plan.columns.len() {
        query = query.bind(rows.iter().map(|row| text(row.cell(column))).collect::<Vec<_>>());
    }
    if let Some((_, ids)) = ids {
        query = query.bind(ids);
    }
    allow_for_transfer(connection, rows.iter().map(BoundRow::size).sum()).await?;
    if returned.is_none() {
        return query.execute(connection).await.map(|_| Vec::new());
    }
    query.fetch_all(connection).await?.iter().map(|row| row.try_get(0)).collect()
}

/// Bytes of rows that arrive in time over any network that is of use.
const SMALL: usize = 1 << 20;
/// Bytes a second of the slowest network that larger statements are given time for.
const SLOWEST: usize = 512 << 10;

/// While a statement arrives, the server takes the transaction for idle. One with `bytes` of rows is given as much longer as
/// they may need.
async fn allow_for_transfer(connection: &mut PgConnection, bytes: usize) -> Result<(), sqlx::Error> {
    if bytes <= SMALL {
        return Ok(());
    }
    let longer = format!(
        "SELECT set_config('idle_in_transaction_session_timeout', (1000 * (extract(epoch FROM \
         current_setting('idle_in_transaction_session_timeout')::interval) + {}))::bigint::text, true)",
        bytes.div_ceil(SLOWEST),
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(longer))).await.map(drop)
}

fn text_of(id: &Id) -> String {
    format!("{}::text", name(&id.column.name))
}

/// Inserts no row; returns a sequence that a default needs and that this account may not use.
pub(super) async fn rehearse(connection: &mut PgConnection, plan: &Plan) -> Result<Option<String>, sqlx::Error> {
    unnest(&mut *connection, plan, &[], None, None).await?;
    let look = statement(
        "SELECT s.oid::regclass::text FROM pg_attrdef d \
         JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attname::text <> ALL ($2) \
         JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid AND u.refclassid = 'pg_class'::regclass \
         JOIN pg_class s ON s.oid = u.refobjid WHERE d.adrelid = to_regclass($1) \
         AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') ELSE false END LIMIT 1",
    );
    let given: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let found = look.bind(&plan.target).bind(given).fetch_optional(connection).await?;
    found.map(|row| row.try_get(0)).transpose()
}

/// Needed where a value is given for a `GENERATED ALWAYS` identity.
fn overriding<'a>(mut columns: impl Iterator<Item = &'a Column>) -> &'static str {
    if columns.any(|column| column.filled == Filled::GeneratedAlways) { " OVERRIDING SYSTEM VALUE" } else { "" }
}

/// Writes rows and returns their ids. Into a plain table they go with ids that were drawn from the column's default (or its
/// sequence) before. Where a trigger, a rule or a view may make something else of a row, the ids are
/// those that the statement returns.
pub(super) async fn rows_with_ids(
    connection: &mut PgConnection,
    plan: &Plan,
    bound: &[BoundRow<'_>],
) -> Result<Vec<Cell<'static>>, Failure> {
    let Some(id) = &plan.id else { return Ok(Vec::new()) };
    let ids = match id.from_recipe {
        Some(column) if !id.returned => {
            rows(connection, plan, bound, None).await.map_err(|error| classify(&error))?;
            let given: Vec<String> = bound.iter().filter_map(|row| text(row.cell(column))).collect();
            expect_there(connection, plan, id, &given).await?;
            given
        }
        Some(_) => returned_ids(connection, plan, id, bound, None).await?,
        None => match draw(connection, id, bound.len()).await? {
            Some(drawn) if !id.guarded => {
                let written = rows(connection, plan, bound, Some((id, &drawn))).await;
                written.map_err(|error| classify(&error))?;
                drawn
            }
            drawn => returned_ids(connection, plan, id, bound, drawn).await?,
        },
    };
    Ok(ids.into_iter().map(|id| Cell::Text(id.into())).collect())
}

/// The ids that one statement for all rows returns.
async fn returned_ids(
    connection: &mut PgConnection,
    plan: &Plan,
    id: &Id,
    bound: &[BoundRow<'_>],
    drawn: Option<Vec<String>>,
) -> Result<Vec<String>, Failure> {
    let with = drawn.as_deref().map(|drawn| (id, drawn));
    let returned = unnest(connection, plan, bound, with, Some(id)).await.map_err(|error| classify(&error))?;
    if returned.len() != bound.len() {
        // A trigger that puts the rows into another table, which inherits from this one, drops them here.
        return match drawn {
            Some(drawn) if !plan.indirect && written_here(connection, plan, id, &drawn).await? == drawn.len() => {
                Ok(drawn)
            }
            _ => Err(unpaired(bound.len())),
        };
    }
    let ids: Vec<String> = returned.into_iter().collect::<Option<_>>().ok_or_else(|| without_id(id))?;
    if id.looked_up {
        expect_there(connection, plan, id, &ids).await?;
    }
    Ok(ids)
}

/// An AFTER trigger may give the row another id, and that of a view may return one that no row has.
async fn expect_there(connection: &mut PgConnection, plan: &Plan, id: &Id, ids: &[String]) -> Result<(), Failure> {
    let wanted: HashSet<&String> = ids.iter().collect();
    let found = count(connection, plan, id, ids, "").await?;
    if found == wanted.len() { Ok(()) } else { Err(id_changed(id)) }
}

/// How many of these ids are those of rows that this transaction wrote.
async fn written_here(connection: &mut PgConnection, plan: &Plan, id: &Id, ids: &[String]) -> Result<usize, Failure> {
    count(connection, plan, id, ids, " AND age(xmin) <= 0").await
}

async fn count(
    connection: &mut PgConnection,
    plan: &Plan,
    id: &Id,
    ids: &[String],
    and: &str,
) -> Result<usize, Failure> {
    let words = format!(
        "SELECT count(DISTINCT {}) FROM {} WHERE {} = ANY (ARRAY(SELECT i::{} FROM unnest($1::text[]) AS u (i))){and}",
        text_of(id),
        plan.target,
        name(&id.column.name),
        id.column.cast,
    );
    let counted = statement(AssertSqlSafe(words)).bind(ids).fetch_one(connection).await;
    let counted: i64 = counted.and_then(|row| row.try_get(0)).map_err(|error| classify(&error))?;
    Ok(usize::try_from(counted).unwrap_or_default())
}

/// Ids from the column's default, one for each row; `None` where it gives none.
async fn draw(connection: &mut PgConnection, id: &Id, count: usize) -> Result<Option<Vec<String>>, Failure> {
    let Some(expression) = &id.column.draw else { return Ok(None) };
    let words = format!("SELECT ({expression})::{}::text FROM generate_series(1, $1)", id.column.cast);
    let drawn = statement(AssertSqlSafe(words)).bind(i64::try_from(count).unwrap_or(i64::MAX));
    let drawn = drawn.fetch_all(connection).await.map_err(|error| classify(&error))?;
    let ids: Result<Option<Vec<String>>, sqlx::Error> = drawn.iter().map(|row| row.try_get(0)).collect();
    let ids = ids.map_err(|error| classify(&error))?;
    // A default that looks for the largest id gives the next one only when the row before is written.
    match &ids {
        Some(ids) if ids.iter().collect::<HashSet<_>>().len() < count => Err(unpaired(count)),
        _ => Ok(ids),
    }
}

/// One row under the plan's policy.
pub(super) async fn one(connection: &mut PgConnection, plan: &Plan, row: BoundRow<'_>) -> Result<RowOutcome, Failure> {
    let Some(id) = &plan.id else {
        let returned = insert_one(connection, plan, row, "''").await.map_err(|error| classify(&error))?;
        return Ok(if returned.is_some() { RowOutcome::Present(None) } else { RowOutcome::Ignored });
    };
    if plan.on_conflict == OnConflict::Fail {
        let ids = rows_with_ids(connection, plan, &[row]).await?;
        return Ok(RowOutcome::Present(ids.into_iter().next()));
    }
    match insert_one(connection, plan, row, &text_of(id)).await.map_err(|error| classify(&error))? {
        Some(Some(returned)) => {
            if id.looked_up {
                expect_there(connection, plan, id, std::slice::from_ref(&returned)).await?;
            }
            Ok(RowOutcome::Present(Some(Cell::Text(returned.into()))))
        }
        Some(None) => Err(without_id(id)),
        None if plan.on_conflict == OnConflict::Ignore && collides(connection, plan, row, id).await? => {
            Ok(RowOutcome::Ignored)
        }
        None => Err(unpaired(1)),
    }
}

/// Whether the row is left out for its key, and not by a trigger: without the policy it is an error.
async fn collides(connection: &mut PgConnection, plan: &Plan, row: BoundRow<'_>, id: &Id) -> Result<bool, Failure> {
    if !id.guarded {
        return Ok(true);
    }
    let strict = Plan { on_conflict: OnConflict::Fail, ..plan.clone() };
    let mut trial = connection.begin().await.map_err(|error| classify(&error))?;
    let inserted = insert_one(&mut trial, &strict, row, &text_of(id)).await;
    trial.rollback().await.map_err(|error| classify(&error))?;
    match inserted {
        Ok(_) => Ok(false),
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) => {
            Ok(true)
        }
        Err(error) => Err(classify(&error)),
    }
}

/// What `returned`, an expression, gives for the row; `None` where the row was not written.
async fn insert_one(
    connection: &mut PgConnection,
    plan: &Plan,
    row: BoundRow<'_>,
    returned: &str,
) -> Result<Option<Option<String>>, sqlx::Error> {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    let casts: Vec<String> = plan
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::text::{}", index + 1, column.cast))
        .collect();
    let words = format!(
        "INSERT INTO {} ({}){} SELECT {}{} RETURNING {returned}",
        plan.target,
        names.join(", "),
        overriding(plan.columns.iter()),
        casts.join(", "),
        on_conflict(DatabaseKind::Postgres, plan),
    );
    let mut query = statement(AssertSqlSafe(words));
    for column in 0..plan.columns.len() {
        query = query.bind(text(row.cell(column)));
    }
    query.fetch_optional(connection).await?.map(|row| row.try_get(0)).transpose()
}

/// The casts of [`one`], for some columns of a row and without the row.
pub(super) async fn cast(
    connection: &mut PgConnection,
    plan: &Plan,
    cells: &[Cell<'_>],
    columns: &[usize],
) -> Result<(), sqlx::Error> {
    let casts = columns.iter().enumerate();
    let casts: Vec<String> =
        casts.map(|(place, column)| format!("${}::text::{} IS NULL", place + 1, plan.columns[*column].cast)).collect();
    let mut query = statement(AssertSqlSafe(format!("SELECT {}", casts.join(", "))));
    for column in columns {
        query = query.bind(text(&cells[*column]));
    }
    query.fetch_optional(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_form_of_their_types_input() {
        let texts =
            [Cell::Null, Cell::Text("a\tb\\N\r\n公😀".into()), Cell::Bool(true), Cell::Bytes(vec![0, 255].into())]
                .map(|cell| text(&cell));
        assert_eq!(
            texts.each_ref().map(Option::as_deref),
            [None, Some("a\tb\\N\r\n公😀"), Some("true"), Some("\\x00ff")]
        );
    }
}
