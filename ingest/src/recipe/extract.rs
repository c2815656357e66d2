//! From a job to its rows.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use jobqueue_json::Value as JsonValue;

use super::eval::expression::Expression;
use super::eval::functions::{self, parse_json};
use super::eval::interpreter::{GOES_ON, ItemVals, JobVals, Scope};
use super::eval::value::Value;
use super::program::{ColumnSource, Extraction, Recipe, RecipeError, TableProgram};
use crate::{Interrupt, JobInput, Row, RowTree, SqlValue};

/// Deepest nesting of a record; deeper ones are refused before anything recurses over them. What the JSON parser
/// allows in text.
const MAX_DEPTH: usize = 128;

/// What becomes of an error: it ends the job, or all are wanted.
struct Errors {
    all: bool,
    found: Vec<RecipeError>,
}

impl Errors {
    /// Ends the job, or remembers the error.
    fn meet(&mut self, error: RecipeError) -> Result<(), RecipeError> {
        if !self.all {
            return Err(error);
        }
        self.found.push(error);
        Ok(())
    }
}

impl Recipe {
    /// The rows, with null for what could not be read, and every error.
    pub(super) fn extract_all(&self, job: &JobInput<'_>, now: DateTime<Utc>) -> (RowTree, Vec<RecipeError>) {
        let mut errors = Errors { all: true, found: Vec::new() };
        let tree = self.extract_with(job, now, &Interrupt::default(), &mut errors);
        let tree = tree.unwrap_or_else(|error| {
            errors.found.push(error);
            RowTree::default()
        });
        (tree, errors.found)
    }

    /// The rows of one job, or the first error.
    pub(super) fn extract(
        &self,
        job: &JobInput<'_>,
        now: DateTime<Utc>,
        interrupt: &Interrupt,
    ) -> Result<RowTree, RecipeError> {
        self.extract_with(job, now, interrupt, &mut Errors { all: false, found: Vec::new() })
    }

    fn extract_with(
        &self,
        job: &JobInput<'_>,
        now: DateTime<Utc>,
        interrupt: &Interrupt,
        errors: &mut Errors,
    ) -> Result<RowTree, RecipeError> {
        let extraction = self.serving(job.function)?;
        if !job_is_shallow(job) {
            return Err(RecipeError(format!("the job's data is nested deeper than {MAX_DEPTH} levels")));
        }
        let vals = JobVals::new(job, None, now, interrupt);
        let record = extraction.record(&Scope { job, record: None, item: None, now, vals: &vals })?;
        let vals = JobVals::new(job, Some(&record), now, interrupt);
        let scope = Scope { job, record: Some(&record), item: None, now, vals: &vals };
        let mut rows = Vec::new();
        for table in &extraction.tables {
            self.add_rows(table, &scope, &mut rows, errors)?;
        }
        Ok(RowTree { rows })
    }

    fn serving(&self, function: Option<&str>) -> Result<&Extraction, RecipeError> {
        let named = function.and_then(|f| self.by_function.get(f)).copied();
        if let Some(extraction) = named.or(self.catch_all).and_then(|i| self.extractions.get(i)) {
            return Ok(extraction);
        }
        let mut served: Vec<&str> = self.by_function.keys().map(String::as_str).collect();
        served.sort_unstable();
        let served = if served.is_empty() { "nothing".to_owned() } else { served.join(", ") };
        Err(RecipeError(match function {
            Some(function) => format!("no recipe serves function {function}; this queue serves: {served}"),
            None => format!("the job names no function, and this queue serves only: {served}"),
        }))
    }

    /// The rows of one table for one parent row (or for the record).
    fn add_rows(
        &self,
        table: &TableProgram,
        scope: &Scope<'_>,
        rows: &mut Vec<Row>,
        errors: &mut Errors,
    ) -> Result<(), RecipeError> {
        let Some(for_each) = &table.for_each else {
            return self.add_row(table, scope, None, rows, errors);
        };
        let name = &self.tables[table.index].table;
        let fail = |reason: String| RecipeError(format!("{name}.forEach: {}: {reason}", for_each.shown()));
        let list = match for_each.evaluate(scope) {
            Ok(Value::Null) => return Ok(()),
            Ok(Value::Json(list)) if list.is_array() => list,
            Ok(other) => {
                return errors.meet(fail(format!("must be a list, but is {} ({})", other.kind(), other.shown())));
            }
            Err(reason) => return errors.meet(fail(reason)),
        };
        let items = list.as_array().map_or(&[][..], Vec::as_slice);
        for (position, item) in items.iter().enumerate() {
            let vals = ItemVals::new(scope.vals, item);
            let scope = Scope { item: Some(item), vals: &vals, ..*scope };
            self.add_row(table, &scope, Some(position), rows, errors)?;
        }
        Ok(())
    }

    fn add_row(
        &self,
        table: &TableProgram,
        scope: &Scope<'_>,
        position: Option<usize>,
        rows: &mut Vec<Row>,
        errors: &mut Errors,
    ) -> Result<(), RecipeError> {
        let plan = &self.tables[table.index];
        if scope.vals.resolve(GOES_ON).is_none() {
            return Err(RecipeError(format!("{}: interrupted", plan.table)));
        }
        let fail = |what: &str, expression: &Expression, reason: String| {
            let position = position.map(|p| format!("[{p}]")).unwrap_or_default();
            RecipeError(format!("{}{position}.{what}: {}: {reason}", plan.table, expression.shown()))
        };
        if let Some(when) = &table.when {
            match when.evaluate(scope) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(()),
                Ok(other) => {
                    let reason = format!("must be true or false, but is {} ({})", other.kind(), other.shown());
                    return errors.meet(fail("when", when, reason));
                }
                Err(reason) => return errors.meet(fail("when", when, reason)),
            }
        }
        let mut values = Vec::with_capacity(table.columns.len());
        for (column, name) in table.columns.iter().zip(&plan.columns) {
            values.push(match column {
                ColumnSource::ParentId => SqlValue::ParentId,
                ColumnSource::Value(expression) => match expression.evaluate(scope).and_then(Value::into_sql) {
                    Ok(value) => value,
                    Err(reason) => {
                        errors.meet(fail(name, expression, reason))?;
                        SqlValue::Null
                    }
                },
            });
        }
        let mut children = Vec::new();
        for child in &table.children {
            self.add_rows(child, scope, &mut children, errors)?;
        }
        rows.push(Row { table: table.index, values, children });
        Ok(())
    }
}

impl Extraction {
    fn record<'s>(&'s self, scope: &Scope<'s>) -> Result<Cow<'s, JsonValue>, RecipeError> {
        let fail = |reason: String| {
            let source = self.record.as_ref().map_or_else(|| "job.args[0]".to_owned(), Expression::shown);
            RecipeError(format!("record: {source}: {reason}"))
        };
        let value = match (&self.record, scope.job.args.first()) {
            (Some(expression), _) => expression.evaluate(scope).map_err(fail)?,
            (None, Some(first)) => Value::from_json(first),
            (None, None) => return Err(fail("the job has no arguments".into())),
        };
        match value {
            Value::Text(text) => parse_json(&text).map(Cow::Owned).map_err(fail),
            // A line of bytes.
            bytes @ Value::Bytes(_) => functions::json(bytes)
                .and_then(Value::into_json)
                .map(|json| Cow::Owned(json.into_owned()))
                .map_err(fail),
            other => other.into_json().map_err(fail),
        }
    }
}

fn job_is_shallow(job: &JobInput<'_>) -> bool {
    job.args.iter().chain(job.kwargs.values()).chain(job.fields.values()).all(|v| is_shallow(v, MAX_DEPTH))
}

fn is_shallow(value: &JsonValue, levels: usize) -> bool {
    match value {
        JsonValue::Array(list) => levels > 0 && list.iter().all(|v| is_shallow(v, levels - 1)),
        JsonValue::Object(map) => levels > 0 && map.values().all(|v| is_shallow(v, levels - 1)),
        _ => true,
    }
}
