//! A table as `information_schema` of MariaDB or MySQL describes it.

use sqlx::{MySqlPool, Row as _, mysql::MySqlRow};

use crate::sink::schema::{Column, Filled, Hooks, Kind, Table, TableKind, UniqueKey};

/// `schema.table`, or a table of the connection's database.
fn split(name: &str) -> (Option<&str>, &str) {
    name.split_once('.').map_or((None, name), |(schema, table)| (Some(schema), table))
}

/// Reads a table or view; `None` where there is none of the name.
pub(super) async fn table(pool: &MySqlPool, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let (schema, table) = split(name);
    let found = sqlx::query(
        "SELECT CAST(t.table_type AS CHAR), CAST(COALESCE(t.engine, '') AS CHAR), \
         (SELECT COUNT(*) FROM information_schema.triggers g WHERE g.event_object_schema = t.table_schema \
          AND g.event_object_table = t.table_name AND g.event_manipulation = 'INSERT'), \
         CAST(COALESCE((SELECT e.transactions FROM information_schema.engines e WHERE e.engine = t.engine), 'YES') AS CHAR), \
         CAST(VERSION() AS CHAR) \
         FROM information_schema.tables t WHERE t.table_schema = COALESCE(?, DATABASE()) AND t.table_name = ?",
    )
    .bind(schema)
    .bind(table)
    .fetch_optional(pool)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let relation: String = found.try_get(0)?;
    let triggers: i64 = found.try_get(2)?;
    let transactions: String = found.try_get(3)?;
    let version: String = found.try_get(4)?;
    let view = relation == "VIEW";
    let unwritable = view && !updatable(pool, schema, table).await?;
    Ok(Some(Table {
        columns: columns(pool, schema, table).await?,
        unique: unique_keys(pool, schema, table).await?,
        triggers: triggers > 0,
        transactional: transactions != "NO",
        kind: if view { TableKind::Indirect } else { TableKind::Table },
        // No trigger of theirs can change a row that is there.
        hooks: Hooks { guarded: view || triggers > 0, changed_later: false },
        no_returning: (!returns(&version))
            .then(|| format!("{version} does not return ids, as MariaDB does since 10.5, and has no other way here")),
        unwritable: unwritable
            .then(|| "it is a view that takes no rows; write to the tables that it is made of".into()),
        ..Table::default()
    }))
}

/// Whether a view takes rows.
async fn updatable(pool: &MySqlPool, schema: Option<&str>, view: &str) -> Result<bool, sqlx::Error> {
    let look = sqlx::query(
        "SELECT is_updatable <> 'NO' FROM information_schema.views \
         WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?",
    );
    let found = look.bind(schema).bind(view).fetch_optional(pool).await?;
    found.map_or(Ok(true), |row| row.try_get::<i64, _>(0).map(|updatable| updatable != 0))
}

/// Whether INSERT has a RETURNING: in MariaDB since 10.5, in MySQL never.
fn returns(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version.to_ascii_lowercase().contains("mariadb") && release >= (10, 5)
}

pub(super) async fn table_names(pool: &MySqlPool) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() \
         UNION SELECT CAST(CONCAT(table_schema, '.', table_name) AS CHAR) FROM information_schema.tables \
         WHERE table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')",
    );
    rows.fetch_all(pool).await?.iter().map(|row| row.try_get(0)).collect()
}

async fn columns(pool: &MySqlPool, schema: Option<&str>, table: &str) -> Result<Vec<Column>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR), CAST(data_type AS CHAR), \
         CAST(is_nullable AS CHAR), CAST(column_default AS CHAR), CAST(extra AS CHAR), \
         CAST(character_maximum_length AS UNSIGNED), CAST(character_octet_length AS UNSIGNED), \
         CAST(numeric_precision AS UNSIGNED), CAST(numeric_scale AS UNSIGNED), CAST(datetime_precision AS UNSIGNED) \
         FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? \
         ORDER BY ordinal_position",
    );
    let rows = rows.bind(schema).bind(table).fetch_all(pool).await?;
    let mut columns: Vec<Column> = rows.iter().map(column).collect::<Result<_, _>>()?;
    for checked in json_checks(pool, schema, table).await {
        columns.iter_mut().filter(|column| column.name == checked).for_each(|column| column.kind = Kind::Json);
    }
    Ok(columns)
}

/// MariaDB's `JSON` is a text with a check. MySQL, which has the type, has no such column in the view: no answer there.
async fn json_checks(pool: &MySqlPool, schema: Option<&str>, table: &str) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT CAST(constraint_name AS CHAR) FROM information_schema.check_constraints \
         WHERE constraint_schema = COALESCE(?, DATABASE()) AND table_name = ? \
         AND check_clause = CONCAT('json_valid(`', constraint_name, '`)')",
    );
    let rows = rows.bind(schema).bind(table).fetch_all(pool).await.unwrap_or_default();
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

fn column(row: &MySqlRow) -> Result<Column, sqlx::Error> {
    let declared: String = row.try_get(1)?;
    let nullable: String = row.try_get(3)?;
    let default: Option<String> = row.try_get(4)?;
    let extra: String = row.try_get::<String, _>(5)?.to_ascii_lowercase();
    let filled = if extra.contains("auto_increment") {
        Filled::Generated
    } else if ["virtual", "stored generated", "persistent"].iter().any(|word| extra.contains(word)) {
        Filled::Computed
    } else {
        default.filter(|default| default != "NULL").map_or(Filled::No, Filled::Default)
    };
    Ok(Column {
        name: row.try_get(0)?,
        kind: kind(row, &declared)?,
        declared,
        cast: String::new(),
        nullable: nullable == "YES",
        filled,
        draw: None,
    })
}

fn kind(row: &MySqlRow, declared: &str) -> Result<Kind, sqlx::Error> {
    let name: String = row.try_get(2)?;
    let number = |index: usize| row.try_get::<Option<u64>, _>(index);
    let small = |index: usize| Ok::<_, sqlx::Error>(number(index)?.and_then(|number| u32::try_from(number).ok()));
    let whole = |bits| if declared.contains("unsigned") { Kind::unsigned(bits) } else { Kind::signed(bits) };
    let fraction = u8::try_from(number(10)?.unwrap_or(0)).unwrap_or(6);
    Ok(match name.to_ascii_lowercase().as_str() {
        "char" | "varchar" => Kind::text(number(6)?),
        // These count bytes; `character_maximum_length` repeats them.
        "tinytext" | "text" | "mediumtext" | "longtext" => Kind::Text { chars: None, bytes: number(7)? },
        "tinyint" => whole(8),
        "smallint" => whole(16),
        "mediumint" => whole(24),
        "int" | "integer" => whole(32),
        "bigint" => whole(64),
        "year" => Kind::Integer { min: 0, max: 2155 },
        "bit" => Kind::unsigned(small(8)?.unwrap_or(1).min(64)),
        "decimal" | "numeric" => Kind::Decimal { precision: small(8)?, scale: small(9)? },
        "float" | "double" | "real" => Kind::Float,
        "date" => Kind::Date,
        "datetime" => Kind::DateTime { fraction },
        "timestamp" => Kind::Timestamp { fraction },
        "binary" => Kind::Bytes { bytes: number(7)?, exact: true },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            Kind::Bytes { bytes: number(7)?, exact: false }
        }
        "json" => Kind::Json,
        _ => Kind::Other,
    })
}

async fn unique_keys(pool: &MySqlPool, schema: Option<&str>, table: &str) -> Result<Vec<UniqueKey>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), sub_part IS NOT NULL FROM information_schema.statistics \
         WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND non_unique = 0 \
         ORDER BY index_name, seq_in_index",
    );
    let mut keys: Vec<UniqueKey> = Vec::new();
    for row in rows.bind(schema).bind(table).fetch_all(pool).await? {
        let name: String = row.try_get(0)?;
        // An expression has no name here. It can collide, but no recipe can name it; nor is a prefix the column.
        let partial: i64 = row.try_get(2)?;
        let column = row.try_get::<Option<String>, _>(1)?.filter(|_| partial == 0).unwrap_or_default();
        match keys.last_mut() {
            Some(key) if key.name == name => key.columns.push(column),
            _ => keys.push(UniqueKey { name, columns: vec![column] }),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mariadb_returns_ids_and_since_10_5() {
        for (version, expected) in [
            ("10.11.19-MariaDB-0+deb12u1", true),
            ("10.5.0-MariaDB", true),
            ("11.4.2-MariaDB-log", true),
            ("10.4.34-MariaDB", false),
            ("8.4.3", false),
            ("8.0.39-30 Percona", false),
            ("", false),
        ] {
            assert_eq!(returns(version), expected, "{version}");
        }
    }
}
