//! A table as SQLite's pragmas describe it. The declared types are taken at their word, though SQLite does not.

use sqlx::{AssertSqlSafe, Row as _, SqlitePool};

use crate::sink::{
    DatabaseKind,
    layout::quote,
    schema::{Column, Filled, Hooks, Kind, Table, TableKind, UniqueKey},
};

/// `main.table` or `table`.
fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or(("main", name))
}

/// Reads a table or view; `None` where there is none of the name.
pub(super) async fn table(pool: &SqlitePool, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let (schema, table) = split(name);
    // A trigger keeps the spelling of its own statement, which has the word INSERT if it is for new rows, and UPDATE if it
    // is for those that a policy changes.
    let found = sqlx::query(AssertSqlSafe(format!(
        "SELECT type, name, COALESCE(sql, ''), EXISTS (SELECT 1 FROM {0}.sqlite_schema t WHERE t.type = 'trigger' \
         AND t.tbl_name = s.name COLLATE NOCASE AND t.sql LIKE '%INSERT%'), \
         EXISTS (SELECT 1 FROM {0}.sqlite_schema t WHERE t.type = 'trigger' \
         AND t.tbl_name = s.name COLLATE NOCASE AND t.sql LIKE '%UPDATE%'), \
         EXISTS (SELECT 1 FROM {0}.sqlite_schema q WHERE q.name = 'sqlite_sequence') \
         FROM {0}.sqlite_schema s WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE",
        quote(DatabaseKind::Sqlite, schema)
    )))
    .bind(table)
    .fetch_optional(pool)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let relation: String = found.try_get(0)?;
    let name: String = found.try_get(1)?;
    let definition: String = found.try_get::<String, _>(2)?.to_ascii_uppercase();
    let definition = definition.split_whitespace().collect::<Vec<_>>().join(" ");
    let (triggers, of_updates): (bool, bool) = (found.try_get(3)?, found.try_get(4)?);
    let numbered = definition.contains("AUTOINCREMENT") && found.try_get(5)?;
    let view = relation == "view";
    let (columns, rowid) = columns(pool, schema, &name, numbered).await?;
    // Its own way with duplicate keys, `UNIQUE ON CONFLICT IGNORE` say, drops rows as a trigger would.
    let guarded = view || triggers || definition.contains("ON CONFLICT");
    Ok(Some(Table {
        unique: unique_keys(pool, schema, &name).await?,
        // SQLite's triggers cannot change the row that is being written.
        triggers: triggers && view,
        transactional: true,
        kind: if view { TableKind::Indirect } else { TableKind::Table },
        hooks: Hooks { guarded, changed_later: guarded || of_updates },
        no_returning: view.then(|| "SQLite does not say which id the trigger of a view gave".into()),
        unwritable: (view && !triggers).then(|| {
            "it is a view that takes no rows; give it an INSTEAD OF INSERT trigger, or write to its tables".into()
        }),
        rowid: ["rowid", "oid", "_rowid_"]
            .into_iter()
            .find(|name| rowid && !view && !columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))),
        columns,
        ..Table::default()
    }))
}

pub(super) async fn table_names(pool: &SqlitePool) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").fetch_all(pool).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The columns, and whether rows have a number.
async fn columns(
    pool: &SqlitePool,
    schema: &str,
    table: &str,
    numbered: bool,
) -> Result<(Vec<Column>, bool), sqlx::Error> {
    let rows = sqlx::query(
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?, ?) ORDER BY cid",
    )
    .bind(table)
    .bind(schema)
    .fetch_all(pool)
    .await?;
    let keys = rows.iter().filter(|row| row.try_get::<i64, _>(4).is_ok_and(|place| place > 0)).count();
    let numbers = sqlx::query(
        "SELECT COALESCE((SELECT wr FROM pragma_table_list(?1) WHERE schema = ?2 COLLATE NOCASE), 0), \
         EXISTS (SELECT 1 FROM pragma_index_list(?1, ?2) WHERE origin = 'pk')",
    );
    let numbers = numbers.bind(table).bind(schema).fetch_one(pool).await?;
    let (without_rowid, indexed): (bool, bool) = (numbers.try_get(0)?, numbers.try_get(1)?);
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        let declared: String = row.try_get(1)?;
        let not_null: bool = row.try_get(2)?;
        let default: Option<String> = row.try_get(3)?;
        let key: i64 = row.try_get(4)?;
        let hidden: i64 = row.try_get(5)?;
        // Exactly `INTEGER PRIMARY KEY` is the rowid by another name, and then generated: it has no index of its own.
        let rowid = keys == 1 && key == 1 && declared.eq_ignore_ascii_case("integer") && !indexed;
        columns.push(Column {
            name: row.try_get(0)?,
            kind: kind(&declared),
            declared,
            cast: String::new(),
            nullable: !not_null,
            filled: match (rowid, hidden, default) {
                (true, ..) => Filled::Generated,
                (false, 2 | 3, _) => Filled::Computed,
                (false, _, Some(expression)) => Filled::Default(expression),
                (false, _, None) => Filled::No,
            },
            draw: rowid.then(|| remembered(schema, table, numbered)),
        });
    }
    Ok((columns, !without_rowid))
}

/// The largest id there ever was, for an `AUTOINCREMENT` table.
fn remembered(schema: &str, table: &str, numbered: bool) -> String {
    if !numbered {
        return "0".into();
    }
    format!(
        "COALESCE((SELECT seq FROM {}.sqlite_sequence WHERE name = '{}'), 0)",
        quote(DatabaseKind::Sqlite, schema),
        table.replace('\'', "''")
    )
}

/// The declared type, by its name up to the parenthesis.
fn kind(declared: &str) -> Kind {
    let upper = declared.to_ascii_uppercase();
    let (name, arguments) = upper.split_once('(').unwrap_or((&upper, ""));
    let mut numbers = arguments.trim_end_matches(')').split(',').map(|number| number.trim().parse::<u32>().ok());
    let first = numbers.next().flatten();
    let second = numbers.next().flatten();
    match name.trim() {
        "TEXT" | "CLOB" | "LONGTEXT" | "MEDIUMTEXT" => Kind::text(None),
        "VARCHAR" | "CHAR" | "NVARCHAR" | "NCHAR" | "CHARACTER" | "VARYING CHARACTER" | "CHARACTER VARYING"
        | "NATIVE CHARACTER" => Kind::text(first.map(u64::from)),
        "TINYINT" => Kind::signed(8),
        "SMALLINT" | "INT2" => Kind::signed(16),
        "MEDIUMINT" => Kind::signed(24),
        "INTEGER" | "INT" | "BIGINT" | "INT8" | "INT4" | "UNSIGNED BIG INT" => Kind::signed(64),
        "DECIMAL" | "NUMERIC" => Kind::Decimal { precision: first, scale: first.map(|_| second.unwrap_or(0)) },
        "REAL" | "DOUBLE" | "DOUBLE PRECISION" | "FLOAT" => Kind::Float,
        "BOOLEAN" | "BOOL" => Kind::Bool,
        "DATE" => Kind::Date,
        "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => Kind::DateTime { fraction: 6 },
        "BLOB" | "TINYBLOB" | "MEDIUMBLOB" | "LONGBLOB" | "BYTEA" | "BINARY" | "VARBINARY" => {
            Kind::Bytes { bytes: first.map(u64::from), exact: false }
        }
        "JSON" => Kind::Json,
        _ => Kind::Other,
    }
}

async fn unique_keys(pool: &SqlitePool, schema: &str, table: &str) -> Result<Vec<UniqueKey>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT l.name, i.name FROM pragma_index_list(?1, ?2) l, pragma_index_info(l.name, ?2) i \
         WHERE l.\"unique\" AND NOT l.partial ORDER BY l.name, i.seqno",
    );
    let mut keys: Vec<UniqueKey> = Vec::new();
    for row in rows.bind(table).bind(schema).fetch_all(pool).await? {
        let name: String = row.try_get(0)?;
        // An expression has no name.
        let column = row.try_get::<Option<String>, _>(1)?.unwrap_or_default();
        match keys.last_mut() {
            Some(key) if key.name == name => key.columns.push(column),
            _ => keys.push(UniqueKey { name, columns: vec![column] }),
        }
    }
    // The rowid's own key is in no index list.
    let key = sqlx::query("SELECT name FROM pragma_table_info(?, ?) WHERE pk > 0 ORDER BY pk").bind(table).bind(schema);
    let columns: Vec<String> = key.fetch_all(pool).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    if !columns.is_empty() {
        keys.push(UniqueKey { name: "PRIMARY KEY".into(), columns });
    }
    Ok(keys)
}
