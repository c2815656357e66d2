//! From the recipe as written to the compiled one, with every problem found on the way.

use std::collections::{BTreeMap, HashMap};

use cel::common::ast::IdedExpr;

use super::check::{Visible, check, is_parent_id, similar};
use super::eval::expression::Expression;
use super::eval::interpreter::interpreter;
use super::eval::value::shorten;
use super::program::{ColumnSource, Extraction, Recipe, RecipeProblem, TablePlan, TableProgram};
use crate::{ChildSpec, IngestSpec, OnConflict, TableSpec, TimeZone};

/// Compiles everything, or lists everything that is wrong.
pub(super) fn compile(specs: &[IngestSpec], zone: TimeZone) -> Result<Recipe, Vec<RecipeProblem>> {
    let mut compiler = Compiler { zone, ..Compiler::default() };
    if specs.is_empty() {
        compiler.problem("ingest", "has no recipe");
    }
    let (by_function, catch_all) = compiler.functions(specs);
    let extractions =
        specs.iter().enumerate().map(|(i, spec)| compiler.extraction(&format!("ingest[{i}]"), spec)).collect();
    if compiler.problems.is_empty() {
        Ok(Recipe { tables: compiler.tables, extractions, by_function, catch_all })
    } else {
        Err(compiler.problems)
    }
}

#[derive(Default)]
struct Compiler {
    /// In which text without an offset becomes an instant.
    zone: TimeZone,
    tables: Vec<TablePlan>,
    problems: Vec<RecipeProblem>,
}

/// What tables and children have in common.
struct Body<'s> {
    path: String,
    table: &'s str,
    for_each: Option<&'s str>,
    when: Option<&'s str>,
    columns: &'s BTreeMap<String, String>,
    on_conflict: OnConflict,
    key: &'s [String],
    /// For a child: the parent's index, and whether the parent has an `item`.
    parent: Option<(usize, bool)>,
}

impl Compiler {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(RecipeProblem { path: path.into(), message: message.into() });
    }

    /// Which recipe serves which function. One without functions serves whatever the others do not.
    fn functions(&mut self, specs: &[IngestSpec]) -> (HashMap<String, usize>, Option<usize>) {
        let mut by_function: HashMap<String, usize> = HashMap::new();
        let mut catch_all = None;
        for (i, spec) in specs.iter().enumerate() {
            if spec.functions.is_empty() {
                match catch_all {
                    None => catch_all = Some(i),
                    Some(first) => self.problem(
                        format!("ingest[{i}].functions"),
                        format!("names no functions, so it would serve every job, as ingest[{first}] does already"),
                    ),
                }
            }
            for (j, function) in spec.functions.iter().enumerate() {
                let path = format!("ingest[{i}].functions[{j}]");
                if function.trim().is_empty() || function.trim() != function {
                    self.problem(path, format!("{function:?} is not a function name"));
                } else if let Some(first) = by_function.insert(function.clone(), i) {
                    self.problem(path, format!("{function} is served by ingest[{first}] already"));
                }
            }
        }
        (by_function, catch_all)
    }

    fn extraction(&mut self, path: &str, spec: &IngestSpec) -> Extraction {
        let visible = Visible { record: false, item: false, child: false };
        let record =
            spec.record.as_ref().and_then(|source| self.expression(&format!("{path}.record"), source, visible));
        if spec.tables.is_empty() {
            self.problem(format!("{path}.tables"), "has no table");
        }
        let tables =
            spec.tables.iter().enumerate().map(|(i, t)| self.table(format!("{path}.tables[{i}]"), t)).collect();
        Extraction { record, tables }
    }

    fn table(&mut self, path: String, spec: &TableSpec) -> TableProgram {
        let body = Body {
            path,
            table: &spec.table,
            for_each: spec.for_each.as_deref(),
            when: spec.when.as_deref(),
            columns: &spec.columns,
            on_conflict: spec.on_conflict,
            key: &spec.key,
            parent: None,
        };
        let mut program = self.body(&body);
        if let Some(what) = not_an_identifier(&spec.id) {
            self.problem(format!("{}.id", body.path), format!("{:?} is not a column name: {what}", spec.id));
        }
        for (i, child) in spec.children.iter().enumerate() {
            let path = format!("{}.children[{i}]", body.path);
            let child = self.child(path, child, program.index, body.for_each.is_some());
            if self.tables[child.index].parent_column.is_some() {
                self.tables[program.index].id = Some(spec.id.clone());
            }
            program.children.push(child);
        }
        program
    }

    fn child(&mut self, path: String, spec: &ChildSpec, parent: usize, parent_item: bool) -> TableProgram {
        self.body(&Body {
            path,
            table: &spec.table,
            for_each: spec.for_each.as_deref(),
            when: spec.when.as_deref(),
            columns: &spec.columns,
            on_conflict: spec.on_conflict,
            key: &spec.key,
            parent: Some((parent, parent_item)),
        })
    }

    fn body(&mut self, body: &Body<'_>) -> TableProgram {
        let outer_item = body.parent.is_some_and(|(_, item)| item);
        let child = body.parent.is_some();
        let outer = Visible { record: true, item: outer_item, child };
        let inner = Visible { item: outer_item || body.for_each.is_some(), ..outer };
        self.names(body);
        let for_each = body.for_each.and_then(|s| self.expression(&format!("{}.forEach", body.path), s, outer));
        let when = body.when.and_then(|s| self.expression(&format!("{}.when", body.path), s, inner));

        let mut columns = Vec::with_capacity(body.columns.len());
        let mut parent_column = None;
        for (i, (name, source)) in body.columns.iter().enumerate() {
            let path = format!("{}.columns.{name}", body.path);
            let Some(column) = self.column(&path, source, inner) else { continue };
            if matches!(column, ColumnSource::ParentId)
                && let Some(first) = parent_column.replace(i)
            {
                let first = body.columns.keys().nth(first).map_or("", String::as_str);
                self.problem(path, format!("parent.id goes into {first} already; one column can take it"));
            }
            columns.push(column);
        }
        let index = self.tables.len();
        self.tables.push(TablePlan {
            table: body.table.to_owned(),
            columns: body.columns.keys().cloned().collect(),
            expressions: body.columns.values().cloned().collect(),
            on_conflict: body.on_conflict,
            key: body.key.to_vec(),
            id: None,
            parent: body.parent.map(|(index, _)| index),
            parent_column,
        });
        TableProgram { index, for_each, when, columns, children: Vec::new() }
    }

    /// Table, columns and key, as names.
    fn names(&mut self, body: &Body<'_>) {
        let parts: Vec<&str> = body.table.split('.').collect();
        let wrong = if parts.len() > 2 {
            Some("at most one dot, between schema and table".to_owned())
        } else {
            parts.into_iter().find_map(not_an_identifier)
        };
        if let Some(what) = wrong {
            self.problem(format!("{}.table", body.path), format!("{:?} is not a table name: {what}", body.table));
        }
        if body.columns.is_empty() {
            self.problem(format!("{}.columns", body.path), "has no column");
        }
        for name in body.columns.keys() {
            if let Some(what) = not_an_identifier(name) {
                let path = format!("{}.columns.{name}", body.path);
                self.problem(path, format!("{name:?} is not a column name: {what}"));
            }
        }
        if body.key.is_empty() && body.on_conflict == OnConflict::Update {
            self.problem(format!("{}.key", body.path), "onConflict: Update needs the columns that identify a row");
        }
        for (i, name) in body.key.iter().enumerate() {
            let path = format!("{}.key[{i}]", body.path);
            if body.key[..i].contains(name) {
                self.problem(path, format!("{name} is listed twice"));
            } else if !body.columns.contains_key(name) {
                let hint = similar(name, body.columns.keys().map(String::as_str))
                    .map_or_else(String::new, |near| format!("; did you mean {near}?"));
                self.problem(path, format!("{name} is not one of the columns{hint}"));
            }
        }
    }

    fn column(&mut self, path: &str, source: &str, visible: Visible) -> Option<ColumnSource> {
        let ast = self.parse(path, source)?;
        if visible.child && is_parent_id(&ast) {
            return Some(ColumnSource::ParentId);
        }
        self.checked(path, source, ast, visible).map(ColumnSource::Value)
    }

    fn expression(&mut self, path: &str, source: &str, visible: Visible) -> Option<Expression> {
        let ast = self.parse(path, source)?;
        self.checked(path, source, ast, visible)
    }

    fn parse(&mut self, path: &str, source: &str) -> Option<IdedExpr> {
        if source.trim().is_empty() {
            self.problem(path, "is empty; empty text is written '\"\"', and NULL null");
            return None;
        }
        match interpreter().parse(source) {
            Ok(ast) => Some(ast),
            Err(messages) => {
                for message in messages {
                    self.problem(path, format!("{}: {message}", quoted(source)));
                }
                None
            }
        }
    }

    fn checked(&mut self, path: &str, source: &str, ast: IdedExpr, visible: Visible) -> Option<Expression> {
        let found = check(&ast, visible);
        for message in &found {
            self.problem(path, format!("{}: {message}", quoted(source)));
        }
        found.is_empty().then(|| Expression::new(source, ast, self.zone))
    }
}

fn quoted(source: &str) -> String {
    shorten(source.trim(), 200).into_owned()
}

/// Why a name cannot be written into SQL: only letters, digits, `_` and `$` can be quoted by every database alike.
fn not_an_identifier(name: &str) -> Option<String> {
    let Some(first) = name.chars().next() else { return Some("it is empty".into()) };
    if first.is_ascii_digit() || first == '$' {
        return Some(format!("it starts with {first:?}"));
    }
    name.chars()
        .find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '$')))
        .map(|c| format!("{c:?} is not a letter, a digit, _ or $"))
}
