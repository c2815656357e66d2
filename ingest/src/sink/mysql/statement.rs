//! The text of statements for rows, and their parameters.

use sqlx::{AssertSqlSafe, MySql, mysql::MySqlArguments, query::Query};

use crate::{
    OnConflict,
    sink::{
        DatabaseKind,
        chunks::{chunks, placeholders},
        convert::Cell,
        failure::Failure,
        layout::{Plan, quote},
        prepared::BoundRow,
    },
};

/// Rows per statement: more gains nothing measurable, and holds more memory for each prepared statement.
pub(super) const MOST_ROWS: usize = 256;

/// A prepared statement takes at most 65,535 parameters.
const MOST_PARAMETERS: usize = 65_535;

/// Bytes per statement, well below the smallest usual `max_allowed_packet`.
const MOST_BYTES: usize = 4 << 20;

/// A statement that owns its text.
pub(super) type Statement = Query<'static, MySql, MySqlArguments>;

/// The quoted name of a column.
pub(super) fn name(column: &str) -> String {
    quote(DatabaseKind::Mysql, column)
}

/// Rows for one statement each.
pub(super) fn statements<'r, 'a>(
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

/// One `INSERT` of all rows; `ending` follows the values.
pub(super) fn insert(plan: &Plan, rows: &[BoundRow<'_>], ending: &str) -> Statement {
    let values = placeholders(rows.len(), plan.columns.len());
    let statement = format!("{} VALUES {values}{ending}", head(plan));
    rows.iter().fold(sqlx::query(AssertSqlSafe(statement)), |query, row| bind_row(query, plan, *row))
}

/// `INSERT INTO table (columns)`.
pub(super) fn head(plan: &Plan) -> String {
    let names: Vec<String> = plan.columns.iter().map(|column| name(&column.name)).collect();
    format!("INSERT INTO {} ({})", plan.target, names.join(", "))
}

/// The clause for duplicate keys that the plan's policy asks for; empty where a duplicate is an error.
pub(super) fn conflict(plan: &Plan) -> String {
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

/// Columns of the recipe's key, as places in the row, and the condition that a row has it.
pub(super) fn by_key(plan: &Plan) -> (Vec<usize>, String) {
    let place = |wanted: &String| plan.columns.iter().position(|column| column.name == *wanted);
    let condition: Vec<String> = plan.key.iter().map(|column| format!("{} = ?", name(column))).collect();
    (plan.key.iter().filter_map(place).collect(), condition.join(" AND "))
}

fn bind_row(mut query: Statement, plan: &Plan, row: BoundRow<'_>) -> Statement {
    for column in 0..plan.columns.len() {
        query = bind(query, row.cell(column));
    }
    query
}

/// The statement with one more parameter.
pub(super) fn bind(query: Statement, cell: &Cell<'_>) -> Statement {
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
