//! PostgreSQL's statements for the ledger and for rows.
//!
//! Values travel as text and are cast to the column's type without its length, so that the assignment checks the
//! length instead of an explicit cast cutting the value.

use std::{collections::HashSet, fmt::Write as _};

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::statement;
use crate::{
    OnConflict,
    sink::{
        DatabaseKind,
        convert::Cell,
        layout::{Id, Plan, on_conflict, quote},
        ledger::{Digest, Entry},
        schema::{Column, Filled},
        store::Landed,
        units::BoundRow,
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
pub(super) async fn rows(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    ids: Option<(&Id, &[String])>,
) -> Result<(), sqlx::Error> {
    if plan.on_conflict == OnConflict::Fail && !plan.indirect {
        return copy(connection, plan, rows, ids).await;
    }
    unnest(connection, plan, rows, ids).await
}

async fn copy(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    ids: Option<(&Id, &[String])>,
) -> Result<(), sqlx::Error> {
    let mut columns: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    if let Some((id, _)) = ids {
        columns.push(name(&id.column.name));
    }
    let mut data = String::with_capacity(rows.iter().map(BoundRow::size).sum());
    for (index, row) in rows.iter().enumerate() {
        for column in 0..plan.columns.len() {
            if column > 0 {
                data.push('\t');
            }
            push_field(&mut data, row.cell(column));
        }
        if let Some((_, ids)) = ids {
            if !plan.columns.is_empty() {
                data.push('\t');
            }
            push_escaped(&mut data, &ids[index]);
        }
        data.push('\n');
    }
    let statement = format!("COPY {} ({}) FROM STDIN", plan.target, columns.join(", "));
    let mut copy = connection.copy_in_raw(&statement).await?;
    copy.send(data.as_bytes()).await?;
    copy.finish().await.map(drop)
}

/// A field of COPY's text format (<https://www.postgresql.org/docs/current/sql-copy.html>).
fn push_field(data: &mut String, cell: &Cell<'_>) {
    match cell {
        Cell::Null | Cell::ParentId => data.push_str("\\N"),
        Cell::Text(text) => push_escaped(data, text),
        other => push_escaped(data, &text(other).unwrap_or_default()),
    }
}

fn push_escaped(data: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\n', '\r', '\t']) {
        data.push_str(&rest[..at]);
        data.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            _ => "\\t",
        });
        rest = &rest[at + 1..];
    }
    data.push_str(rest);
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

async fn unnest(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    ids: Option<(&Id, &[String])>,
) -> Result<(), sqlx::Error> {
    let columns: Vec<&Column> = plan.columns.iter().chain(ids.iter().map(|(id, _)| &id.column)).collect();
    let names: Vec<String> = columns.iter().map(|column| name(&column.name)).collect();
    let arrays: Vec<String> = (1..=names.len()).map(|number| format!("${number}::text[]")).collect();
    let fields: Vec<String> = (0..names.len()).map(|number| format!("c{number}")).collect();
    let casts: Vec<String> =
        fields.iter().zip(&columns).map(|(field, column)| format!("v.{field}::{}", column.cast)).collect();
    let words = format!(
        "INSERT INTO {} ({}){} SELECT {} FROM unnest({}) AS v ({}){}",
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
    query.execute(connection).await.map(drop)
}

/// Inserts no row; returns a sequence that a default needs and that this account may not use.
pub(super) async fn rehearse(connection: &mut PgConnection, plan: &Plan) -> Result<Option<String>, sqlx::Error> {
    unnest(&mut *connection, plan, &[], None).await?;
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

/// Draws the ids first, by evaluating the column's default (or its sequence) once per row, and then writes all rows
/// with them.
pub(super) async fn rows_with_ids(
    connection: &mut PgConnection,
    plan: &Plan,
    bound: &[BoundRow<'_>],
) -> Result<Vec<Cell<'static>>, sqlx::Error> {
    let Some(id) = &plan.id else { return Ok(Vec::new()) };
    let drawn = match &id.column.draw {
        Some(expression) => draw(connection, expression, bound.len()).await?,
        None => None,
    };
    let Some(ids) = drawn else { return one_by_one(connection, plan, bound).await };
    rows(connection, plan, bound, Some((id, &ids))).await?;
    Ok(ids.into_iter().map(|id| Cell::Text(id.into())).collect())
}

async fn draw(
    connection: &mut PgConnection,
    expression: &str,
    count: usize,
) -> Result<Option<Vec<String>>, sqlx::Error> {
    let words = format!("SELECT ({expression})::text FROM generate_series(1, $1)");
    let drawn = statement(AssertSqlSafe(words)).bind(i64::try_from(count).unwrap_or(i64::MAX));
    let mut ids = Vec::with_capacity(count);
    for row in drawn.fetch_all(connection).await? {
        match row.try_get(0)? {
            Some(id) => ids.push(id),
            None => return Ok(None),
        }
    }
    Ok(Some(ids))
}

async fn one_by_one(
    connection: &mut PgConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
) -> Result<Vec<Cell<'static>>, sqlx::Error> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        match one(connection, plan, *row).await? {
            Landed::There(Some(id)) => ids.push(id),
            Landed::There(None) | Landed::Ignored => return Err(sqlx::Error::RowNotFound),
        }
    }
    Ok(ids)
}

/// One row under the plan's policy.
pub(super) async fn one(connection: &mut PgConnection, plan: &Plan, row: BoundRow<'_>) -> Result<Landed, sqlx::Error> {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    let casts: Vec<String> = plan
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::text::{}", index + 1, column.cast))
        .collect();
    let returned = plan.id.as_ref().map_or_else(|| "''".into(), |id| format!("{}::text", name(&id.column.name)));
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
    let Some(returned) = query.fetch_optional(connection).await? else { return Ok(Landed::Ignored) };
    let id: Option<String> = returned.try_get(0)?;
    Ok(Landed::There(plan.id.as_ref().and(id).map(|id| Cell::Text(id.into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_fields_are_escaped() {
        let mut data = String::new();
        for cell in
            [Cell::Null, Cell::Text("a\tb\\N\r\n公😀".into()), Cell::Bool(true), Cell::Bytes(vec![0, 255].into())]
        {
            push_field(&mut data, &cell);
            data.push('|');
        }
        assert_eq!(data, "\\N|a\\tb\\\\N\\r\\n公😀|true|\\\\x00ff|");
    }
}
