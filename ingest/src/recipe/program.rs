//! The compiled recipe, and what can be wrong with one.

use std::collections::HashMap;

use super::eval::expression::Expression;
use crate::OnConflict;

/// Every recipe of a queue, compiled.
#[derive(Debug)]
pub struct Recipe {
    /// All tables of all recipes, parents and children; [`crate::Row::table`] indexes it.
    pub tables: Vec<TablePlan>,
    /// In the order of the specs.
    pub(super) extractions: Vec<Extraction>,
    /// Function name to index into `extractions`.
    pub(super) by_function: HashMap<String, usize>,
    /// The recipe that names no functions.
    pub(super) catch_all: Option<usize>,
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

/// One recipe: what serves the jobs of some functions.
#[derive(Debug)]
pub(super) struct Extraction {
    /// `None` means `job.args[0]`.
    pub(super) record: Option<Expression>,
    pub(super) tables: Vec<TableProgram>,
}

/// The expressions of one table.
#[derive(Debug)]
pub(super) struct TableProgram {
    /// Index into [`Recipe::tables`].
    pub(super) index: usize,
    pub(super) for_each: Option<Expression>,
    pub(super) when: Option<Expression>,
    pub(super) columns: Vec<ColumnSource>,
    pub(super) children: Vec<TableProgram>,
}

/// Where a column's value comes from.
#[derive(Debug)]
pub(super) enum ColumnSource {
    /// `parent.id`
    ParentId,
    Value(Expression),
}
