//! The recipe laid over the live schema: which column takes which value, how ids come about, how conflicts are met.
//! Building it is also the check of the recipe: every problem is collected.

use super::{
    DatabaseKind,
    schema::{Column, Filled, Table, TableKind},
};
use crate::{OnConflict, RecipeProblem, recipe::TablePlan};

/// A recipe and the schema it was checked against.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) plans: Vec<Plan>,
}

/// One table of the recipe, ready to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// As the recipe spells it, for messages.
    pub(super) table: String,
    /// Quoted for the statement.
    pub(super) target: String,
    /// In the order of [`crate::Row::values`].
    pub(super) columns: Vec<Column>,
    pub(super) on_conflict: OnConflict,
    /// The recipe's key, in the database's spelling.
    pub(super) key: Vec<String>,
    /// Set where children refer to this table.
    pub(super) id: Option<Id>,
    /// A view or the like, see [`TableKind::Indirect`].
    pub(super) indirect: bool,
    /// NULL for a NOT NULL column can be refused before it is sent.
    pub(super) refuse_null: bool,
    /// One statement per row: the database is to say what became of each.
    pub(super) row_by_row: bool,
}

/// The column that children refer to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Id {
    pub(super) column: Column,
    /// The recipe gives the value itself: index into the columns.
    pub(super) given: Option<usize>,
}

impl Layout {
    /// Lays `plans` over `tables` (in the same order; `None` is a missing table).
    pub(super) fn new(
        database: DatabaseKind,
        plans: &[TablePlan],
        tables: &[Option<Table>],
        others: &[String],
    ) -> Result<Self, Vec<RecipeProblem>> {
        let mut problems = Vec::new();
        let mut laid = Vec::new();
        for (plan, table) in plans.iter().zip(tables) {
            let mut report = Report { table: &plan.table, problems: &mut problems };
            match table {
                None => report.say(format!("no such table{}", did_you_mean(&plan.table, others))),
                Some(table) => laid.extend(lay(database, plan, table, &mut report)),
            }
        }
        if problems.is_empty() { Ok(Self { plans: laid }) } else { Err(problems) }
    }
}

struct Report<'a> {
    table: &'a str,
    problems: &'a mut Vec<RecipeProblem>,
}

impl Report<'_> {
    fn say(&mut self, message: String) {
        self.problems.push(RecipeProblem { path: format!("table {}", self.table), message });
    }
}

fn lay(database: DatabaseKind, plan: &TablePlan, table: &Table, report: &mut Report<'_>) -> Option<Plan> {
    let before = report.problems.len();
    if !table.transactional {
        report.say("its storage engine has no transactions; use InnoDB".into());
    }
    let columns = columns(database, plan, table, report);
    let mut key = Vec::new();
    for name in &plan.key {
        match find(database, table, name) {
            Some(column) => key.push(column.name.clone()),
            None => report.say(format!("key names the missing column `{name}`{}", suggest_column(table, name))),
        }
    }
    check_unfilled(plan, table, &columns, report);
    check_key(plan, table, &key, &columns, report);
    let id = plan.id.as_ref().and_then(|name| id(database, name, table, &columns, report));
    if report.problems.len() > before {
        return None;
    }
    let row_by_row = row_by_row(database, plan.on_conflict, table, &columns, &key, id.as_ref());
    Some(Plan {
        table: plan.table.clone(),
        target: quote_table(database, &plan.table),
        columns,
        on_conflict: plan.on_conflict,
        key,
        id,
        indirect: table.kind == TableKind::Indirect,
        refuse_null: !table.triggers && table.kind == TableKind::Table,
        row_by_row,
    })
}

fn columns(database: DatabaseKind, plan: &TablePlan, table: &Table, report: &mut Report<'_>) -> Vec<Column> {
    let mut found = Vec::new();
    for (name, expression) in plan.columns.iter().zip(&plan.expressions) {
        match find(database, table, name) {
            None => report.say(format!("no column `{name}` (for `{expression}`){}", suggest_column(table, name))),
            Some(column) if column.filled == Filled::Computed => {
                report.say(format!("column `{name}` is computed by the database and takes no value"));
            }
            Some(column) => found.push(column.clone()),
        }
    }
    found
}

/// PostgreSQL's quoted names are exact; the others compare without case.
fn find<'a>(database: DatabaseKind, table: &'a Table, name: &str) -> Option<&'a Column> {
    table.column(name).or_else(|| {
        let alike = |column: &&Column| database != DatabaseKind::Postgres && column.name.eq_ignore_ascii_case(name);
        table.columns.iter().find(alike)
    })
}

fn check_unfilled(plan: &TablePlan, table: &Table, columns: &[Column], report: &mut Report<'_>) {
    if table.triggers || table.kind == TableKind::Indirect {
        return;
    }
    let missing: Vec<String> = table
        .columns
        .iter()
        .filter(|column| !column.nullable && column.filled == Filled::No)
        .filter(|column| !columns.iter().any(|given| given.name == column.name))
        .map(|column| format!("`{column}`"))
        .collect();
    if !missing.is_empty() && plan.columns.len() == columns.len() {
        report.say(format!("NOT NULL without a default, and the recipe gives no value: {}", missing.join(", ")));
    }
}

fn check_key(plan: &TablePlan, table: &Table, key: &[String], columns: &[Column], report: &mut Report<'_>) {
    if plan.on_conflict == OnConflict::Update && plan.key.is_empty() {
        report.say("onConflict: Update needs `key`, the columns that identify a row".into());
    }
    if key.is_empty() || key.len() < plan.key.len() || plan.on_conflict == OnConflict::Fail {
        return;
    }
    if !table.unique_over(key) {
        report.say(format!("no primary key or unique index over exactly ({}), which onConflict needs", key.join(", ")));
    }
    let absent: Vec<&str> =
        key.iter().filter(|name| !columns.iter().any(|column| column.name == **name)).map(String::as_str).collect();
    if !absent.is_empty() {
        report.say(format!("key has columns that the recipe gives no value: {}", absent.join(", ")));
    }
}

fn id(database: DatabaseKind, name: &str, table: &Table, columns: &[Column], report: &mut Report<'_>) -> Option<Id> {
    let Some(column) = find(database, table, name) else {
        report.say(format!("no column `{name}` for parent.id{} (set `id`)", suggest_column(table, name)));
        return None;
    };
    let given = columns.iter().position(|column| column.name == name);
    let generated = match column.filled {
        Filled::Generated | Filled::GeneratedAlways => true,
        Filled::Default(_) => database != DatabaseKind::Mysql,
        Filled::No | Filled::Computed => table.triggers && database == DatabaseKind::Postgres,
    };
    if given.is_none() && !generated {
        report.say(format!("column `{column}` is parent.id, but the database does not generate it"));
    }
    Some(Id { column: column.clone(), given })
}

/// Where the rows of one statement cannot be told apart afterwards, each gets a statement of its own.
fn row_by_row(
    database: DatabaseKind,
    policy: OnConflict,
    table: &Table,
    columns: &[Column],
    key: &[String],
    id: Option<&Id>,
) -> bool {
    if policy == OnConflict::Fail {
        return false;
    }
    // MySQL's ON DUPLICATE KEY answers to any unique key. Only the recipe's key may count, so that where another one
    // could collide the statement is sent by itself, and after an error a row with the key is looked for.
    let others_may_collide = table.unique.iter().any(|unique| {
        let generated = |name: &String| {
            table.column(name).is_some_and(|column| column.filled == Filled::Generated)
                && !columns.iter().any(|given| given.name == *name)
        };
        !unique.covers(key) && !unique.columns.iter().any(generated)
    });
    id.is_some() || (database == DatabaseKind::Mysql && !key.is_empty() && others_may_collide)
}

/// `schema.table` quoted part by part.
pub(super) fn quote_table(database: DatabaseKind, table: &str) -> String {
    table.split('.').map(|part| quote(database, part)).collect::<Vec<_>>().join(".")
}

/// A quoted name.
pub(super) fn quote(database: DatabaseKind, name: &str) -> String {
    match database {
        DatabaseKind::Mysql => format!("`{}`", name.replace('`', "``")),
        DatabaseKind::Postgres | DatabaseKind::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// What PostgreSQL and SQLite are told to do about a duplicate key, in the words that they share.
pub(super) fn on_conflict(database: DatabaseKind, plan: &Plan) -> String {
    let name = |column: &str| quote(database, column);
    let key: Vec<String> = plan.key.iter().map(|column| name(column)).collect();
    match plan.on_conflict {
        OnConflict::Fail => String::new(),
        OnConflict::Ignore if key.is_empty() => " ON CONFLICT DO NOTHING".into(),
        OnConflict::Ignore => format!(" ON CONFLICT ({}) DO NOTHING", key.join(", ")),
        OnConflict::Update => {
            let updated = plan.columns.iter().filter(|column| !plan.key.contains(&column.name));
            let mut assignments: Vec<String> =
                updated.map(|column| format!("{0} = EXCLUDED.{0}", name(&column.name))).collect();
            if assignments.is_empty() {
                // Something has to be set for the statement to return the row.
                assignments = key.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
            }
            format!(" ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), assignments.join(", "))
        }
    }
}

fn suggest_column(table: &Table, name: &str) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    did_you_mean(name, &names)
}

/// `; did you mean ...?` where one of the names is close.
fn did_you_mean(name: &str, names: &[String]) -> String {
    let limit = (name.chars().count() / 3).max(1);
    names
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}
