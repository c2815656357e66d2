//! MariaDB's and MySQL's statements for the ledger and for rows.

use std::collections::HashSet;

use sqlx::{
    AssertSqlSafe, MySql, MySqlConnection, Row as _,
    mysql::{MySqlArguments, MySqlRow},
    query::Query,
};

use super::error::{classify, is_duplicate};
use crate::{
    OnConflict,
    sink::{
        DatabaseKind,
        chunks::{chunks, floor_power, placeholders},
        convert::Cell,
        failure::Failure,
        layout::{Id, Plan, quote},
        ledger::{Digest, Entry},
        schema::Kind,
        store::{Landed, id_changed, unpaired, without_id},
        units::BoundRow,
    },
};

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

/// Writes all rows under the plan's policy.
pub(super) async fn rows(
    connection: &mut MySqlConnection,
    plan: &Plan,
    rows: &[BoundRow<'_>],
    packet: usize,
) -> Result<(), Failure> {
    for chunk in statements(plan, rows, packet)? {
        insert(plan, chunk, &conflict(plan)).execute(&mut *connection).await.map_err(|error| classify(&error))?;
    }
    Ok(())
}

/// Writes all rows and returns their ids, which come back with the statement. A server that cannot return them is asked
/// for them afterwards.
pub(super) async fn rows_with_ids(
    connection: &mut MySqlConnection,
    plan: &Plan,
    bound: &[BoundRow<'_>],
    packet: usize,
) -> Result<Vec<Cell<'static>>, Failure> {
    let Some(id) = &plan.id else { return Ok(Vec::new()) };
    let mut ids = Vec::with_capacity(bound.len());
    for chunk in statements(plan, bound, packet)? {
        if id.returned {
            let returned = insert(plan, chunk, &returning(id)).fetch_all(&mut *connection).await;
            let returned = returned.map_err(|error| classify(&error))?;
            if returned.len() != chunk.len() {
                return Err(unpaired(bound.len()));
            }
            for row in &returned {
                ids.push(id_in(row, id)?);
            }
        } else if id.guarded || id.from_recipe.is_some() {
            for row in chunk {
                let written = insert(plan, std::slice::from_ref(row), "").execute(&mut *connection).await;
                let written = written.map_err(|error| classify(&error))?;
                ids.push(look_up(connection, plan, id, *row, written.last_insert_id()).await?);
            }
        } else {
            let written = insert(plan, chunk, "").execute(&mut *connection).await.map_err(|error| classify(&error))?;
            ids.extend(counted(connection, plan, id, written.last_insert_id(), chunk.len()).await?);
        }
    }
    Ok(ids)
}

/// Rows for one statement each.
fn statements<'r, 'a>(
    plan: &Plan,
    rows: &'r [BoundRow<'a>],
    packet: usize,
) -> Result<Vec<&'r [BoundRow<'a>]>, Failure> {
    let most = MOST_ROWS.min(MOST_PARAMETERS / plan.columns.len().max(1));
    let chunks = chunks(rows, most, MOST_BYTES.min(packet / 2));
    // The server would close the connection.
    let too_large = |chunk: &&&[BoundRow<'a>]| chunk.len() == 1 && chunk[0].size() + 4096 > packet;
    match chunks.iter().find(too_large) {
        Some(chunk) => Err(Failure::refused(format!(
            "a row of {} bytes is larger than max_allowed_packet ({packet})",
            chunk[0].size()
        ))),
        None => Ok(chunks),
    }
}

fn insert(plan: &Plan, rows: &[BoundRow<'_>], ending: &str) -> Statement {
    let values = placeholders(rows.len(), plan.columns.len());
    let statement = format!("{} VALUES {values}{ending}", head(plan));
    rows.iter().fold(sqlx::query(AssertSqlSafe(statement)), |query, row| bind_row(query, plan, *row))
}

fn head(plan: &Plan) -> String {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    format!("INSERT INTO {} ({})", plan.target, names.join(", "))
}

fn returning(id: &Id) -> String {
    format!(" RETURNING {}", value_of(id))
}

/// The id as an expression of a type that [`id_in`] reads.
fn value_of(id: &Id) -> String {
    let column = name(&id.column.name);
    match id.column.kind {
        Kind::Integer { min, .. } if min < 0 => format!("CAST({column} AS SIGNED)"),
        Kind::Integer { .. } => format!("CAST({column} AS UNSIGNED)"),
        Kind::Bytes { .. } => column,
        _ => format!("CAST({column} AS CHAR)"),
    }
}

fn id_in(row: &MySqlRow, id: &Id) -> Result<Cell<'static>, Failure> {
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
async fn look_up(
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
async fn counted(
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
    let written = match &plan.id {
        Some(id) if id.returned => {
            let returned = insert(plan, &[row], &returning(id)).fetch_optional(&mut *connection).await;
            returned.map(|returned| Ok(Landed::There(Some(id_in(&returned.ok_or_else(|| unpaired(1))?, id)?))))
        }
        Some(id) => match insert(plan, &[row], "").execute(&mut *connection).await {
            Ok(written) => {
                let found = look_up(connection, plan, id, row, written.last_insert_id()).await?;
                Ok(Ok(Landed::There(Some(found))))
            }
            Err(error) => Err(error),
        },
        None => insert(plan, &[row], "").execute(&mut *connection).await.map(|_| Ok(Landed::There(None))),
    };
    let error = match written {
        Ok(landed) => return landed,
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
        OnConflict::Update => update(connection, plan, row).await,
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
async fn update(connection: &mut MySqlConnection, plan: &Plan, row: BoundRow<'_>) -> Result<Landed, Failure> {
    let (keys, condition) = by_key(plan);
    let others: Vec<usize> = (0..plan.columns.len()).filter(|index| !keys.contains(index)).collect();
    if !others.is_empty() {
        let set: Vec<String> = others.iter().map(|index| format!("{} = ?", name(&plan.columns[*index].name))).collect();
        let statement = format!("UPDATE {} SET {} WHERE {condition}", plan.target, set.join(", "));
        let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
        for index in others.iter().chain(&keys) {
            query = bind(query, row.cell(*index));
        }
        query.execute(&mut *connection).await.map_err(|error| classify(&error))?;
    }
    let Some(id) = &plan.id else { return Ok(Landed::There(None)) };
    let statement = format!("SELECT {} FROM {} WHERE {condition} LOCK IN SHARE MODE", value_of(id), plan.target);
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
    for index in &keys {
        query = bind(query, row.cell(*index));
    }
    // A trigger may have given the row another key.
    let found = query.fetch_optional(connection).await.map_err(|error| classify(&error))?.ok_or_else(|| unpaired(1))?;
    Ok(Landed::There(Some(id_in(&found, id)?)))
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::{Executor as _, MySqlPool};

    use super::*;
    use crate::{
        Recipe, RecipeProblem, TimeZone,
        sink::{layout::Layout, mysql::schema},
    };

    const TABLES: &str = "
        CREATE TABLE par (id BIGINT AUTO_INCREMENT PRIMARY KEY, no BIGINT UNIQUE);
        CREATE TABLE audit (id BIGINT AUTO_INCREMENT PRIMARY KEY, no BIGINT);
        INSERT INTO audit (no) VALUES (1), (2), (3);";

    const AUDIT: &str = "CREATE TRIGGER audits AFTER INSERT ON par FOR EACH ROW INSERT INTO audit (no) VALUES (NEW.no)";

    const CHANGE: &str = "CREATE TRIGGER changes BEFORE INSERT ON par FOR EACH ROW BEGIN
        INSERT INTO audit (no) VALUES (NEW.no); SET NEW.id = 1000 - 7 * NEW.no; END";

    /// A database with the tables, and what `more` makes of them.
    async fn pool(more: &str) -> MySqlPool {
        let pool = MySqlPool::connect(&jobqueue_testkit::mariadb().database()).await.unwrap();
        for script in [TABLES, more].into_iter().filter(|script| !script.is_empty()) {
            pool.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
        }
        pool
    }

    /// The plan for `par` on a server that has no RETURNING.
    async fn plan(pool: &MySqlPool, mut table: serde_json::Value) -> Result<Plan, Vec<RecipeProblem>> {
        table["children"] = json!([{"table": "audit", "columns": {"no": "parent.id"}}]);
        let specs: Vec<crate::IngestSpec> = serde_json::from_value(json!([{ "tables": [table] }])).unwrap();
        let recipe = Recipe::compile(&specs).unwrap();
        let mut tables = Vec::new();
        for plan in &recipe.tables {
            tables.push(schema::table(pool, &plan.table).await.unwrap());
        }
        tables[0].as_mut().unwrap().no_returning = Some("8.4.3 does not return ids".into());
        Ok(Layout::new((DatabaseKind::Mysql, TimeZone::default()), &recipe.tables, &tables, &[])?.plans.remove(0))
    }

    /// Writes rows with these values, in one statement where that can be and then one by one, and expects the ids that
    /// the table has.
    async fn expect_ids(connection: &mut MySqlConnection, plan: &Plan, rows: &[&[i64]]) {
        let id_of = async |connection: &mut MySqlConnection, no: i64| -> String {
            let look = sqlx::query("SELECT CAST(id AS CHAR) FROM par WHERE no = ?").bind(no);
            look.fetch_one(connection).await.unwrap().try_get(0).unwrap()
        };
        let shown = |id: &Cell<'_>| match id {
            Cell::Int(id) => id.to_string(),
            Cell::UInt(id) => id.to_string(),
            other => panic!("{other:?}"),
        };
        let cells = |step: i64| -> Vec<Vec<Cell<'static>>> {
            rows.iter()
                .map(|row| {
                    let (no, others) = row.split_last().unwrap();
                    others.iter().chain([&(no + step)]).map(|value| Cell::Int(*value)).collect()
                })
                .collect()
        };
        let (first, second) = (cells(0), cells(100));
        let bound: Vec<BoundRow<'_>> = first.iter().map(|cells| BoundRow { cells, parent: None }).collect();
        let ids = rows_with_ids(connection, plan, &bound, 1 << 20).await.unwrap();
        for (row, id) in rows.iter().zip(&ids) {
            assert_eq!(shown(id), id_of(connection, *row.last().unwrap()).await, "{row:?}");
        }
        for (row, cells) in rows.iter().zip(&second).filter(|(row, _)| row.len() == 1 || row[0] == 0) {
            let landed = one(connection, plan, BoundRow { cells, parent: None }).await.unwrap();
            let Landed::There(Some(id)) = landed else { panic!("{landed:?}") };
            assert_eq!(shown(&id), id_of(connection, row.last().unwrap() + 100).await, "{row:?}");
        }
    }

    #[tokio::test]
    async fn without_returning_ids_are_looked_up() {
        for more in ["", AUDIT, CHANGE] {
            let pool = pool(more).await;
            let mut connection = pool.acquire().await.unwrap();
            let fail = plan(&pool, json!({"table": "par", "columns": {"no": "1"}})).await.unwrap();
            expect_ids(&mut connection, &fail, &[&[1], &[2], &[3]]).await;
            connection.execute("SET SESSION auto_increment_increment = 5").await.unwrap();
            expect_ids(&mut connection, &fail, &[&[6], &[5], &[4]]).await;
            let update = json!({"table": "par", "columns": {"no": "1"}, "onConflict": "Update", "key": ["no"]});
            let update = plan(&pool, update).await.unwrap();
            expect_ids(&mut connection, &update, &[&[7], &[8]]).await;
            if more != CHANGE {
                let given = json!({"table": "par", "columns": {"id": "1", "no": "1"}});
                let given = plan(&pool, given).await.unwrap();
                expect_ids(&mut connection, &given, &[&[500, 20], &[0, 21], &[400, 22]]).await;
            }
        }
    }

    /// An account without the right to see triggers does not know of them.
    #[tokio::test]
    async fn ids_that_cannot_be_counted_are_not_guessed() {
        let pool = pool(CHANGE).await;
        let mut plan = plan(&pool, json!({"table": "par", "columns": {"no": "1"}})).await.unwrap();
        plan.id.as_mut().unwrap().guarded = false;
        let cells = [1, 2, 3].map(|no| [Cell::Int(no)]);
        let rows = cells.each_ref().map(|cells| BoundRow { cells, parent: None });
        let mut transaction = pool.begin().await.unwrap();
        let failure = rows_with_ids(&mut transaction, &plan, &rows, 1 << 20).await.unwrap_err();
        assert!(matches!(failure, Failure::RepeatedKey(_)), "{failure:?}");
    }

    #[tokio::test]
    async fn without_returning_other_ids_have_to_be_given() {
        let pool = pool(
            "CREATE TABLE named (id CHAR(36) DEFAULT (UUID()) PRIMARY KEY, no BIGINT); CREATE VIEW v AS SELECT id, no FROM par",
        )
        .await;
        for table in ["named", "v"] {
            let problems = plan(&pool, json!({"table": table, "columns": {"no": "1"}})).await.unwrap_err();
            let message = &problems[0].message;
            assert!(message.ends_with("8.4.3 does not return ids; give it in the recipe"), "{message}");
            plan(&pool, json!({"table": table, "columns": {"id": "1", "no": "1"}})).await.unwrap();
        }
    }
}
