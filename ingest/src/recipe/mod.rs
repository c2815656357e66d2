//! The compiled recipe: expressions checked once, evaluated per job, no I/O.

mod check;
mod compile;
pub(crate) mod eval;
mod extract;
mod program;

use chrono::{DateTime, Utc};

pub use self::program::{Recipe, RecipeError, RecipeProblem, TablePlan};
use crate::{IngestSpec, Interrupt, JobInput, RowTree, TimeZone};

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
