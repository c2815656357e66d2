//! The compiled recipe: expressions checked once, evaluated per job, no I/O.

#[cfg(test)]
mod agreement;
pub(crate) mod bytes;
mod calendar;
mod check;
mod compile;
mod datum;
mod diagnose;
mod direct;
mod expression;
mod extract;
mod helpers;
mod interpreter;
mod written;

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use self::extract::Extraction;
use crate::{IngestSpec, Interrupt, JobInput, OnConflict, RowTree, TimeZone};

/// Every recipe of a queue, compiled.
#[derive(Debug)]
pub struct Recipe {
    /// All tables of all recipes, parents and children; [`crate::Row::table`] indexes it.
    pub tables: Vec<TablePlan>,
    /// In the order of the specs.
    extractions: Vec<Extraction>,
    /// Function name to index into `extractions`.
    by_function: HashMap<String, usize>,
    /// The recipe that names no functions.
    catch_all: Option<usize>,
}

/// What a sink needs to know of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// Name as written, `schema.table` allowed.
    pub table: String,
    /// Columns in the order of [`crate::Row::values`].
    pub columns: Vec<String>,
    /// The expressions of `columns`, for error messages.
    pub expressions: Vec<String>,
    /// Duplicate policy.
    pub on_conflict: OnConflict,
    /// Identifying columns for it.
    pub key: Vec<String>,
    /// The generated id column, if rows of other tables refer to it.
    pub id: Option<String>,
    /// The parent's index, for a child.
    pub parent: Option<usize>,
    /// The column that takes `parent.id`, as an index into `columns`.
    pub parent_column: Option<usize>,
}

/// Something wrong with a recipe, found before any job runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct RecipeProblem {
    /// Where, e.g. `ingest[0].tables[0].columns.founded_date`.
    pub path: String,
    /// What, with the expression.
    pub message: String,
}

/// Why a job's record cannot become rows: table, column, expression and the offending value, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecipeError(pub String);

impl Recipe {
    /// Compiles and checks all recipes; reports every problem at once. `timestamp()` reads text without an offset in UTC.
    pub fn compile(specs: &[IngestSpec]) -> Result<Self, Vec<RecipeProblem>> {
        compile::compile(specs, TimeZone::default())
    }

    /// As [`Recipe::compile`], for a database that is used in `zone`, in which `timestamp()` reads text without an offset.
    pub fn compile_in(specs: &[IngestSpec], zone: TimeZone) -> Result<Self, Vec<RecipeProblem>> {
        compile::compile(specs, zone)
    }

    /// The rows of one job. `now` is the value of `now()` for all of its rows.
    pub fn rows(&self, job: &JobInput<'_>, now: DateTime<Utc>) -> Result<RowTree, RecipeError> {
        self.extract(job, now, &Interrupt::default())
    }

    /// As [`Recipe::rows`], but goes on after an error: the rows, with NULL for what could not be read, and every error.
    pub fn rows_and_errors(&self, job: &JobInput<'_>, now: DateTime<Utc>) -> (RowTree, Vec<RecipeError>) {
        self.extract_all(job, now)
    }

    /// As [`Recipe::rows`]; fails soon after `interrupt` is set, with whatever words.
    pub fn rows_unless(
        &self,
        interrupt: &Interrupt,
        job: &JobInput<'_>,
        now: DateTime<Utc>,
    ) -> Result<RowTree, RecipeError> {
        self.extract(job, now, interrupt)
    }
}
