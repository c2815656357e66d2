//! What an engine keeps between two calls: its database, the layout of the recipe, and what happened lately.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Recipe, RecipeProblem,
    recipe::TablePlan,
    sink::{SinkError, SinkOptions, failure::Failure, layout::Layout, store::Store},
};

/// A [`crate::Sink`] over any [`Store`].
pub(in crate::sink) struct Engine<S> {
    pub(super) store: S,
    pub(super) options: SinkOptions,
    layout: Mutex<Option<CachedLayout>>,
    /// When the tables were last found wanting.
    pub(super) schema_mismatch: LastTime,
    /// When a unit was last refused.
    pub(super) refused: LastTime,
    /// When the tables were last seen to lie where the ledger does.
    pub(super) one_disk: LastTime,
}

/// When something last happened.
#[derive(Default)]
pub(super) struct LastTime(Mutex<Option<Instant>>);

impl LastTime {
    /// It happened now.
    pub(super) fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it happened within [`RECENT`].
    pub(super) fn is_recent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < RECENT)
    }
}

/// The layout of the recipe that was written last, and when it was read from the database.
#[derive(Clone)]
pub(super) struct CachedLayout {
    pub(super) plans: Vec<TablePlan>,
    pub(super) layout: Arc<Layout>,
    pub(super) read_at: Instant,
}

/// A value that does not fit may fit after an ALTER TABLE: the schema is read again before such a verdict, but not
/// more often than this.
pub(super) const SCHEMA_TRUST: Duration = Duration::from_secs(30);

/// How long ago is recent: longer than a worker waits between two attempts while the tables are not what the recipe needs.
const RECENT: Duration = Duration::from_secs(60);

impl<S: Store> Engine<S> {
    pub(in crate::sink) fn new(store: S, options: SinkOptions) -> Self {
        Self {
            store,
            options,
            layout: Mutex::new(None),
            schema_mismatch: LastTime::default(),
            refused: LastTime::default(),
            one_disk: LastTime::default(),
        }
    }

    /// The error that callers see for `failure`, of which the store is told.
    pub(super) async fn sink_error(&self, failure: Failure) -> SinkError {
        let failure = self.store.clarify(failure).await;
        self.store.failed(&failure);
        failure.into_error(self.store.endpoint())
    }

    /// Turns a failure into the error that callers see.
    pub(super) async fn or_sink_error<T>(&self, answer: Result<T, Failure>) -> Result<T, SinkError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(self.sink_error(failure).await),
        }
    }

    /// Reads the tables of the recipe from the database. The inner `Err` lists what does not fit; the outer is the database's.
    pub(super) async fn read_layout(&self, recipe: &Recipe) -> Result<Result<Layout, Vec<RecipeProblem>>, Failure> {
        let mut tables = Vec::with_capacity(recipe.tables.len());
        for plan in &recipe.tables {
            tables.push(self.store.table(&plan.table).await?);
        }
        let others = if tables.iter().any(Option::is_none) { self.store.table_names().await? } else { Vec::new() };
        Ok(Layout::new((S::KIND, self.store.zone()), &recipe.tables, &tables, &others))
    }

    /// The layout, at most `trust` old.
    pub(super) async fn layout(&self, recipe: &Recipe, trust: Duration) -> Result<CachedLayout, Failure> {
        let known = self.layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known
            && known.plans == recipe.tables
            && known.read_at.elapsed() < trust
        {
            return Ok(known);
        }
        match self.read_layout(recipe).await? {
            Ok(layout) => {
                let known =
                    CachedLayout { plans: recipe.tables.clone(), layout: Arc::new(layout), read_at: Instant::now() };
                *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
                Ok(known)
            }
            // It was right when the worker started, so the schema is being changed: no job is at fault.
            Err(problems) => Err(schema_mismatch(&problems)),
        }
    }

    /// The error of a write that ended half-way. A ledger that is gone is made again, as at the start of a worker.
    pub(super) async fn interrupted(&self, failure: Failure) -> SinkError {
        self.forget_layout();
        if matches!(failure, Failure::SchemaMismatch(_)) {
            self.schema_mismatch.record();
            if let Err(failure) = self.store.ensure_ledger().await {
                tracing::debug!(?failure, "the ledger cannot be looked for");
            }
        }
        match failure {
            Failure::Broken(cause) => {
                self.store.failed(&Failure::Broken(cause.clone()));
                SinkError::Disconnected { endpoint: self.store.endpoint().to_owned(), cause }
            }
            other => self.sink_error(other).await,
        }
    }

    fn forget_layout(&self) {
        *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn schema_mismatch(problems: &[RecipeProblem]) -> Failure {
    Failure::SchemaMismatch(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
