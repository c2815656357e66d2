//! Writes rows to MariaDB and MySQL.

use sqlx::{AssertSqlSafe, MySqlConnection};

use super::{
    error::{classify, is_duplicate},
    ids::{counted, id_in, look_up, returning, value_of},
    statement::{Statement, bind, by_key, conflict, head, insert, name, statements},
};
use crate::{
    OnConflict,
    sink::{
        convert::Cell,
        failure::Failure,
        layout::Plan,
        prepared::BoundRow,
        store::{RowOutcome, unpaired},
    },
};

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

/// Writes one row by a plain INSERT; where it meets the recipe's key, the row that is there decides.
pub(super) async fn one(
    connection: &mut MySqlConnection,
    plan: &Plan,
    row: BoundRow<'_>,
) -> Result<RowOutcome, Failure> {
    let written = match &plan.id {
        Some(id) if id.returned => {
            let returned = insert(plan, &[row], &returning(id)).fetch_optional(&mut *connection).await;
            returned.map(|returned| Ok(RowOutcome::Present(Some(id_in(&returned.ok_or_else(|| unpaired(1))?, id)?))))
        }
        Some(id) => match insert(plan, &[row], "").execute(&mut *connection).await {
            Ok(written) => {
                let found = look_up(connection, plan, id, row, written.last_insert_id()).await?;
                Ok(Ok(RowOutcome::Present(Some(found))))
            }
            Err(error) => Err(error),
        },
        None => insert(plan, &[row], "").execute(&mut *connection).await.map(|_| Ok(RowOutcome::Present(None))),
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
        OnConflict::Ignore | OnConflict::Fail => Ok(RowOutcome::Ignored),
    }
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
async fn update(connection: &mut MySqlConnection, plan: &Plan, row: BoundRow<'_>) -> Result<RowOutcome, Failure> {
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
    let Some(id) = &plan.id else { return Ok(RowOutcome::Present(None)) };
    let statement = format!("SELECT {} FROM {} WHERE {condition} LOCK IN SHARE MODE", value_of(id), plan.target);
    let mut query: Statement = sqlx::query(AssertSqlSafe(statement));
    for index in &keys {
        query = bind(query, row.cell(*index));
    }
    // A trigger may have given the row another key.
    let found = query.fetch_optional(connection).await.map_err(|error| classify(&error))?.ok_or_else(|| unpaired(1))?;
    Ok(RowOutcome::Present(Some(id_in(&found, id)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::{Executor as _, MySqlPool, Row as _};

    use super::*;
    use crate::{
        Recipe, RecipeProblem, TimeZone,
        sink::{DatabaseKind, layout::Layout, mysql::schema},
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
            let RowOutcome::Present(Some(id)) = landed else { panic!("{landed:?}") };
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
