//! A table as PostgreSQL's catalog describes it.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, postgres::PgRow};

use super::statement::statement;
use crate::sink::{
    DatabaseKind,
    layout::quote_table,
    schema::{Column, Filled, Hooks, Kind, Table, TableKind, UniqueKey},
};

/// Reads a table, view or partitioned table; `None` where there is none of the name in the search path.
pub(super) async fn table(connection: &mut PgConnection, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let quoted = quote_table(DatabaseKind::Postgres, name);
    let found = statement(
        // A row fires its partition's triggers. The bits of a type: 2 is BEFORE, 4 INSERT, 16 UPDATE.
        "SELECT c.oid::bigint, c.relkind::text, COALESCE(g.fired, false), c.relrowsecurity, \
         c.relkind <> 'v' AND EXISTS (SELECT 1 FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3')), \
         COALESCE(g.later, false) FROM pg_class c LEFT JOIN LATERAL (WITH RECURSIVE parts (oid) AS (SELECT c.oid \
         UNION SELECT i.inhrelid FROM pg_inherits i JOIN parts p ON p.oid = i.inhparent \
         JOIN pg_class k ON k.oid = i.inhrelid AND k.relispartition) \
         SELECT true AS fired, bool_or(t.tgtype & 2 = 0) AS later FROM parts p JOIN pg_trigger t ON t.tgrelid = p.oid \
         WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 20 <> 0 HAVING count(*) > 0) g ON true WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'f')",
    )
    .bind(&quoted)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let oid: i64 = found.try_get(0)?;
    let relation: String = found.try_get(1)?;
    let (triggers, row_security, rules): (bool, bool, bool) = (found.try_get(2)?, found.try_get(3)?, found.try_get(4)?);
    // A view, or a table that stands for one of another server.
    let distant = ["v", "f"].contains(&relation.as_str());
    let mut table = Table {
        columns: columns(connection, oid, &quoted).await?,
        unique: unique_keys(connection, oid).await?,
        triggers,
        transactional: true,
        kind: if distant || row_security || rules { TableKind::Indirect } else { TableKind::Table },
        hooks: Hooks { guarded: triggers || distant || rules, changed_later: found.try_get(5)? },
        ..Table::default()
    };
    if distant || rules {
        // Whether an id that is given here is the row's is up to what stands behind.
        table.columns.iter_mut().for_each(|column| column.draw = None);
        plan_an_insert(connection, &quoted, &mut table).await?;
    }
    Ok(Some(table))
}

/// Asks PostgreSQL to plan an INSERT: what a view or a rule cannot do it says then, and nothing is written.
async fn plan_an_insert(connection: &mut PgConnection, quoted: &str, table: &mut Table) -> Result<(), sqlx::Error> {
    let refusal = |error: &sqlx::Error| error.as_database_error().map(|error| error.message().to_owned());
    let state = |error: &sqlx::Error| error.as_database_error().and_then(|error| error.code().map(String::from));
    for ending in ["RETURNING *", "ON CONFLICT DO NOTHING"] {
        let mut trial = connection.begin().await?;
        let insert = format!("EXPLAIN INSERT INTO {quoted} DEFAULT VALUES {ending}");
        let planned = trial.execute(sqlx::raw_sql(AssertSqlSafe(insert))).await;
        trial.rollback().await?;
        let Err(error) = planned else { continue };
        // object_not_in_prerequisite_state, feature_not_supported; the others show when rows are written
        match (state(&error).as_deref(), ending) {
            (Some("55000"), _) => {
                table.unwritable = refusal(&error)
                    .map(|words| format!("{words}; give it an INSTEAD OF INSERT trigger, or write to its tables"));
            }
            (Some("0A000"), "RETURNING *") => table.no_returning = refusal(&error),
            (Some("0A000"), _) => table.no_conflict = refusal(&error),
            _ => {}
        }
    }
    Ok(())
}

pub(super) async fn table_names(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows = statement(
        "SELECT c.relname::text FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'f') AND pg_table_is_visible(c.oid) \
         UNION SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
    );
    rows.fetch_all(connection).await?.iter().map(|row| row.try_get(0)).collect()
}

async fn columns(connection: &mut PgConnection, oid: i64, quoted: &str) -> Result<Vec<Column>, sqlx::Error> {
    // A domain is cast to by its own name, but takes what its base type takes, at the bottom of domains over domains. A
    // type modifier of -1 prints the type without a length; NULL would print `character`, which casts to one character.
    let rows = statement(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), \
         b.typname::text, base.modifier, \
         NOT (a.attnotnull OR t.typnotnull), a.attidentity::text, a.attgenerated::text, \
         COALESCE(pg_get_expr(d.adbin, d.adrelid), t.typdefault), \
         CASE WHEN a.attidentity <> '' AND has_sequence_privilege(pg_get_serial_sequence($2, a.attname), 'USAGE') \
         THEN pg_get_serial_sequence($2, a.attname) END, \
         (SELECT e.typname::text FROM pg_type e WHERE e.oid = b.typelem AND b.typcategory = 'A'), \
         CASE b.typtype WHEN 'e' THEN (SELECT array_agg(l.enumlabel::text) FROM pg_enum l WHERE l.enumtypid = b.oid) END \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         CROSS JOIN LATERAL (WITH RECURSIVE down (oid, modifier, depth) AS (SELECT t.oid, a.atttypmod, 0 \
          UNION ALL SELECT d.typbasetype, d.typtypmod, down.depth + 1 \
          FROM down JOIN pg_type d ON d.oid = down.oid WHERE d.typtype = 'd') \
          SELECT oid, modifier FROM down ORDER BY depth DESC LIMIT 1) AS base \
         JOIN pg_type b ON b.oid = base.oid \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    );
    rows.bind(oid).bind(quoted).fetch_all(connection).await?.iter().map(column).collect()
}

fn column(row: &PgRow) -> Result<Column, sqlx::Error> {
    let type_name: String = row.try_get(3)?;
    let identity: String = row.try_get(6)?;
    let computed: String = row.try_get(7)?;
    let default: Option<String> = row.try_get(8)?;
    let sequence: Option<String> = row.try_get(9)?;
    let element: Option<String> = row.try_get(10)?;
    let labels: Option<Vec<String>> = row.try_get(11)?;
    let kind = match (element, labels) {
        (Some(element), _) => Kind::Array { json: element == "json" || element == "jsonb" },
        (None, Some(labels)) => Kind::Labels(labels),
        (None, None) => kind(&type_name, row.try_get(4)?),
    };
    let draw = sequence.map(|sequence| format!("nextval('{}'::regclass)", sequence.replace('\'', "''")));
    let filled = match (computed.as_str(), identity.as_str(), default) {
        ("", "a", _) => Filled::GeneratedAlways,
        ("", "d", _) => Filled::Generated,
        ("", _, Some(expression)) => Filled::Default(expression),
        ("", _, None) => Filled::No,
        _ => Filled::Computed,
    };
    let draw = draw.or_else(|| match &filled {
        Filled::Default(expression) => Some(expression.clone()),
        _ => None,
    });
    Ok(Column {
        name: row.try_get(0)?,
        declared: row.try_get(1)?,
        cast: row.try_get(2)?,
        kind,
        nullable: row.try_get(5)?,
        // Types whose text, drawn and then written, is what the column holds.
        draw: draw.filter(|_| ["int2", "int4", "int8", "uuid", "text", "varchar"].contains(&type_name.as_str())),
        filled,
    })
}

/// `modifier` is the catalog's: the length plus 4 for texts, precision and scale packed for numbers, -1 for none.
fn kind(name: &str, modifier: i32) -> Kind {
    let given = u32::try_from(modifier).ok();
    match name {
        "varchar" | "bpchar" => Kind::text(given.map(|length| u64::from(length.saturating_sub(4)))),
        "text" | "name" | "citext" => Kind::text(None),
        "int2" => Kind::signed(16),
        "int4" => Kind::signed(32),
        "int8" => Kind::signed(64),
        "numeric" => {
            // A scale is 11 bits, signed; a negative one (rounding before the point) is left to the database.
            let packed = given.map(|packed| packed.saturating_sub(4)).filter(|packed| packed & 0x400 == 0);
            Kind::Decimal {
                precision: packed.map(|packed| (packed >> 16) & 0xffff),
                scale: packed.map(|packed| packed & 0x7ff),
            }
        }
        "float4" | "float8" => Kind::Float,
        "bool" => Kind::Bool,
        "date" => Kind::Date,
        "timestamp" => Kind::DateTime { fraction: given.map_or(6, |digits| u8::try_from(digits).unwrap_or(6)) },
        "timestamptz" => Kind::Timestamp { fraction: given.map_or(6, |digits| u8::try_from(digits).unwrap_or(6)) },
        "bytea" => Kind::Bytes { bytes: None, exact: false },
        "uuid" => Kind::Uuid,
        "inet" | "cidr" => Kind::Network,
        "hstore" => Kind::Hstore,
        "json" | "jsonb" => Kind::Json,
        _ => Kind::Other,
    }
}

async fn unique_keys(connection: &mut PgConnection, oid: i64) -> Result<Vec<UniqueKey>, sqlx::Error> {
    let rows = statement(
        "SELECT c.relname::text, array_agg(a.attname::text ORDER BY k.place) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL \
         AND i.indexprs IS NULL AND k.place <= i.indnkeyatts GROUP BY c.relname",
    );
    let rows = rows.bind(oid).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(UniqueKey { name: row.try_get(0)?, columns: row.try_get(1)? })).collect()
}
