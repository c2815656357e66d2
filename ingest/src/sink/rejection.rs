//! Which column a refusal is about. Databases name it for most errors; PostgreSQL does not where a text is no value of the
//! type, and none of them knows the recipe.

use super::{
    Rejection,
    convert::{Cell, show},
    failure::shorten,
    layout::{Layout, Plan},
    prepared::{Prepared, from},
    store::Store,
};

/// So many rows of a unit are looked at again, at most.
const ROWS: usize = 64;

/// The refusal of a unit that stood alone, with column, expression and value as far as they can be found.
pub(super) async fn explain<S: Store>(
    store: &S,
    layout: &Layout,
    unit: &Prepared<'_>,
    rejection: Rejection,
) -> Rejection {
    let words = &rejection.message;
    let plans = layout.plans.iter().enumerate().filter(|(_, plan)| is_about(words, plan));
    for (index, plan) in plans {
        let rows = || unit.rows.iter().filter(|row| row.plan == index).take(ROWS);
        if let Some(column) = plan.columns.iter().position(|column| names(words, &plan.table, &column.name)) {
            // Of several rows it may be any.
            let mut rows = rows();
            let row = rows.next().filter(|_| rows.next().is_none());
            let value = row.map(|row| value(&row.cells[column])).unwrap_or_default();
            let message = format!("{words}{}{value}", from(&plan.expressions[column]));
            return Rejection { message: shorten(&message), ..rejection };
        }
        for row in rows() {
            if let Some((column, objection)) = store.objection(plan, &row.cells).await {
                let name = &plan.columns[column].name;
                let (from, value) = (from(&plan.expressions[column]), value(&row.cells[column]));
                let message = format!("{}.{name}: {objection}{from}{value}", plan.table);
                return Rejection { message: shorten(&message), ..rejection };
            }
        }
    }
    rejection
}

/// Refusals begin with their table, in PostgreSQL's own words without its schema.
fn is_about(words: &str, plan: &Plan) -> bool {
    let table = plan.table.rsplit('.').next().unwrap_or_default();
    words.starts_with(plan.table.as_str()) || words.starts_with(&format!("{table}."))
}

/// Whether the words name the column in one of the ways of the databases.
fn names(words: &str, table: &str, column: &str) -> bool {
    let table = table.rsplit('.').next().unwrap_or_default();
    // "Column" where MySQL's sentence begins with it.
    let quoted = ['"', '\'', '`']
        .iter()
        .any(|quote| ["column", "Column"].iter().any(|word| words.contains(&format!("{word} {quote}{column}{quote}"))));
    let with_table = [": ", ",", ")", " ("].iter().any(|end| words.contains(&format!("{table}.{column}{end}")));
    quoted
        || with_table
        || words.contains(&format!("`{table}`.`{column}`"))
        || words.ends_with(&format!("{table}.{column}"))
}

fn value(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Text(text) => format!(", the value is {}", show(text)),
        Cell::Int(number) => format!(", the value is {number}"),
        Cell::UInt(number) => format!(", the value is {number}"),
        Cell::Float(number) => format!(", the value is {number}"),
        Cell::Bool(flag) => format!(", the value is {flag}"),
        Cell::Null | Cell::Bytes(_) | Cell::ParentId => String::new(),
    }
}
