//! The recipe laid over the live schema: which column takes which value, how ids come about, how conflicts are met.
//! Building it is also the check of the recipe: every problem is collected.

use super::{
    DatabaseKind,
    schema::{Column, Filled, Kind, Table, TableKind},
};
use crate::{OnConflict, RecipeProblem, TimeZone, recipe::TablePlan};

/// A recipe and the schema it was checked against.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) plans: Vec<Plan>,
    /// In which the database is used.
    pub(super) zone: TimeZone,
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
    /// What the recipe says of each column, for messages.
    pub(super) expressions: Vec<String>,
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
    pub(super) from_recipe: Option<usize>,
    /// The same, where the database is sure to keep the value as it is.
    pub(super) given: Option<usize>,
    /// The statement that writes a row can return its id.
    pub(super) returned: bool,
    /// See [`super::schema::Hooks::guarded`]: no id counts that the database has not confirmed.
    pub(super) guarded: bool,
    /// See [`super::schema::Hooks::changed_later`]: the row is looked up again.
    pub(super) looked_up: bool,
    /// See [`Table::rowid`].
    pub(super) rowid: Option<&'static str>,
}

impl Layout {
    /// Lays `plans` over `tables` (in the same order; `None` is a missing table).
    pub(super) fn new(
        (database, zone): (DatabaseKind, TimeZone),
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
        if problems.is_empty() { Ok(Self { plans: laid, zone }) } else { Err(problems) }
    }
}

/// What `datetime()` may lose in a column of instants.
pub(super) fn warnings(layout: &Layout, plans: &[TablePlan]) -> Vec<RecipeProblem> {
    let mut warnings = Vec::new();
    for (plan, laid) in plans.iter().zip(&layout.plans) {
        for (expression, column) in plan.expressions.iter().zip(&laid.columns) {
            if matches!(column.kind, Kind::Timestamp { .. }) && drops_an_offset(expression) {
                let message = format!(
                    "column `{column}` takes {}: an offset in the text is dropped, and the time of day is read in {}; \
                     timestamp() reads the instant",
                    expression.trim(),
                    layout.zone
                );
                warnings.push(RecipeProblem { path: format!("table {}", plan.table), message });
            }
        }
    }
    warnings
}

/// Whether it is a `datetime()` of text that may have an offset: without a format, or with one that reads it.
fn drops_an_offset(expression: &str) -> bool {
    let Some(arguments) = expression.trim_start().strip_prefix("datetime(") else { return false };
    let reads_offsets = ["%z", "%:z", "%#z", "%+", "\"iso\"", "'iso'"];
    !arguments.contains('%') || reads_offsets.iter().any(|format| arguments.contains(format))
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
    if let Some(why) = &table.unwritable {
        report.say(why.clone());
    }
    if let (Some(why), true) = (&table.no_conflict, plan.on_conflict != OnConflict::Fail) {
        report.say(format!("{why}; use onConflict: Fail"));
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
        expressions: plan.expressions.clone(),
        on_conflict: plan.on_conflict,
        key,
        id,
        indirect: table.kind == TableKind::Indirect,
        refuse_null: !table.triggers && table.kind == TableKind::Table,
        row_by_row,
    })
}

fn columns(database: DatabaseKind, plan: &TablePlan, table: &Table, report: &mut Report<'_>) -> Vec<Column> {
    let mut found: Vec<Column> = Vec::new();
    for (name, expression) in plan.columns.iter().zip(&plan.expressions) {
        match find(database, table, name) {
            None => {
                let hint = yaml_hint(name).map_or_else(|| suggest_column(table, name), str::to_owned);
                report.say(format!("no column `{name}` (for `{expression}`){hint}"));
            }
            Some(column) if column.filled == Filled::Computed => {
                report.say(format!("column `{name}` is computed by the database and takes no value"));
            }
            Some(column) if found.iter().any(|given| given.name == column.name) => {
                report.say(format!("column `{name}` is given twice: the database takes it for `{}`", column.name));
            }
            Some(column) => found.push(column.clone()),
        }
    }
    found
}

/// The column that the database takes the name for. From here on it has the database's spelling.
fn find<'a>(database: DatabaseKind, table: &'a Table, name: &str) -> Option<&'a Column> {
    table.column(name).or_else(|| table.columns.iter().find(|column| alike(database, &column.name, name)))
}

/// PostgreSQL's quoted names are exact. SQLite compares without the case of ASCII, MariaDB and MySQL without any case.
fn alike(database: DatabaseKind, one: &str, other: &str) -> bool {
    match database {
        DatabaseKind::Postgres => one == other,
        DatabaseKind::Sqlite => one.eq_ignore_ascii_case(other),
        DatabaseKind::Mysql => one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase)),
    }
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
    let from_recipe = columns.iter().position(|given| given.name == column.name);
    let filled = match &column.filled {
        Filled::Generated | Filled::GeneratedAlways | Filled::Computed => true,
        // A constant, which is what MariaDB and MySQL print without a parenthesis, is no id.
        Filled::Default(default) => database != DatabaseKind::Mysql || table.hooks.guarded || default.contains('('),
        Filled::No => table.hooks.guarded,
    };
    match &table.no_returning {
        _ if from_recipe.is_some() => {}
        _ if !filled => report.say(format!(
            "column `{column}` is parent.id, but the database does not generate it; give it in the recipe, or name \
             the generated column with `id`"
        )),
        // An AUTO_INCREMENT of MySQL can be asked for afterwards.
        Some(why)
            if database != DatabaseKind::Mysql
                || column.filled != Filled::Generated
                || table.kind == TableKind::Indirect =>
        {
            report.say(format!("column `{column}` is parent.id, but {why}; give it in the recipe"));
        }
        _ => {}
    }
    Some(Id {
        column: column.clone(),
        from_recipe,
        given: from_recipe.filter(|_| kept_as_given(database, table, column)),
        returned: table.no_returning.is_none(),
        guarded: table.hooks.guarded,
        looked_up: table.hooks.changed_later,
        rowid: table.rowid,
    })
}

/// Whether a value that the recipe gives is sure to be the row's id. Types other than these two may be stored in
/// another form. MariaDB and MySQL generate an id where 0 is given, and do not show triggers to every account.
fn kept_as_given(database: DatabaseKind, table: &Table, column: &Column) -> bool {
    let told = database == DatabaseKind::Mysql && (column.filled == Filled::Generated || table.no_returning.is_none());
    !table.hooks.guarded && !told && matches!(column.kind, Kind::Integer { .. } | Kind::Text { .. })
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

/// YAML 1.1, which kubectl reads, takes some bare words for booleans.
fn yaml_hint(name: &str) -> Option<&'static str> {
    match name {
        "true" => {
            Some("; where the manifest has a bare `yes`, `on` or `y`, put it in quotes: kubectl reads it as true")
        }
        "false" => {
            Some("; where the manifest has a bare `no`, `off` or `n`, put it in quotes: kubectl reads it as false")
        }
        _ => None,
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
