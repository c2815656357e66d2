//! The one way in which every database takes a batch: the ledger first, then each table in the recipe's order, in one
//! transaction; tried again where it collided with another, split where a unit is at fault.
//!
//! Here: the layout, and what callers see. [`batch`]: how a batch is taken apart. [`transaction`]: one attempt. [`rows`]: its
//! statements. [`trial`]: whose fault a failure is.

mod batch;
mod rows;
mod transaction;
mod trial;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::{
    batch::tables,
    transaction::{Setback, Way},
    trial::room_for,
};
use super::{
    Misfit, Sink, SinkError, SinkOptions, Unit, UnitOutcome, blame, check,
    failure::Failure,
    layout::{Layout, warnings},
    ledger::{Digest, Entry},
    store::Store,
    units::prepare,
};
use crate::{Recipe, RecipeProblem, RowTree, recipe::TablePlan};

/// A [`Sink`] over any [`Store`].
pub(super) struct Engine<S> {
    store: S,
    options: SinkOptions,
    layout: Mutex<Option<Known>>,
    /// When the tables were last found wanting.
    misfit: Lately,
    /// When a unit was last refused.
    refused: Lately,
    /// When the tables were last seen to lie where the ledger does.
    one_disk: Lately,
}

/// When something last happened.
#[derive(Default)]
struct Lately(Mutex<Option<Instant>>);

impl Lately {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn lately(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < LATELY)
    }
}

/// The layout of the recipe that was written last, and when it was read from the database.
#[derive(Clone)]
struct Known {
    plans: Vec<TablePlan>,
    layout: Arc<Layout>,
    read_at: Instant,
}

/// A value that does not fit may fit after an ALTER TABLE: the schema is read again before such a verdict, but not
/// more often than this.
const SCHEMA_TRUST: Duration = Duration::from_secs(30);

/// This is lately. Longer than a worker waits between two attempts while the tables are not what the recipe needs.
const LATELY: Duration = Duration::from_secs(60);

impl<S: Store> Engine<S> {
    pub(super) fn new(store: S, options: SinkOptions) -> Self {
        Self {
            store,
            options,
            layout: Mutex::new(None),
            misfit: Lately::default(),
            refused: Lately::default(),
            one_disk: Lately::default(),
        }
    }

    async fn away(&self, failure: Failure) -> SinkError {
        let failure = self.store.clarify(failure).await;
        self.store.failed(&failure);
        failure.into_error(self.store.endpoint())
    }

    /// Turns a failure into the error that callers see.
    async fn told<T>(&self, answer: Result<T, Failure>) -> Result<T, SinkError> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(self.away(failure).await),
        }
    }

    async fn read_layout(&self, recipe: &Recipe) -> Result<Result<Layout, Vec<RecipeProblem>>, Failure> {
        let mut tables = Vec::with_capacity(recipe.tables.len());
        for plan in &recipe.tables {
            tables.push(self.store.table(&plan.table).await?);
        }
        let others = if tables.iter().any(Option::is_none) { self.store.table_names().await? } else { Vec::new() };
        Ok(Layout::new((S::KIND, self.store.zone()), &recipe.tables, &tables, &others))
    }

    /// The layout, at most `trust` old.
    async fn layout(&self, recipe: &Recipe, trust: Duration) -> Result<Known, Failure> {
        let known = self.layout.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known
            && known.plans == recipe.tables
            && known.read_at.elapsed() < trust
        {
            return Ok(known);
        }
        match self.read_layout(recipe).await? {
            Ok(layout) => {
                let known = Known { plans: recipe.tables.clone(), layout: Arc::new(layout), read_at: Instant::now() };
                *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
                Ok(known)
            }
            // It was right when the worker started, so that somebody is at work on the schema: no job is at fault.
            Err(problems) => Err(misfit(&problems)),
        }
    }

    /// The error of a write that ended half-way. A ledger that is gone is made again, as at the start of a worker.
    async fn interrupted(&self, failure: Failure) -> SinkError {
        self.forget_layout();
        if matches!(failure, Failure::Misfit(_)) {
            self.misfit.now();
            if let Err(failure) = self.store.ensure_ledger().await {
                tracing::debug!(?failure, "the ledger cannot be looked for");
            }
        }
        match failure {
            Failure::Broken(cause) => {
                self.store.failed(&Failure::Broken(cause.clone()));
                SinkError::Disconnected { endpoint: self.store.endpoint().to_owned(), cause }
            }
            other => self.away(other).await,
        }
    }

    fn forget_layout(&self) {
        *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn misfit(problems: &[RecipeProblem]) -> Failure {
    Failure::Misfit(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[async_trait]
impl<S: Store> Sink for Engine<S> {
    async fn validate(&self, recipe: &Recipe) -> Result<Result<(), Vec<RecipeProblem>>, SinkError> {
        match self.read_layout(recipe).await {
            Ok(Ok(_)) => Ok(Ok(())),
            Ok(Err(problems)) => Ok(Err(problems)),
            Err(failure) => Err(self.away(failure).await),
        }
    }

    async fn warnings(&self, recipe: &Recipe) -> Result<Vec<RecipeProblem>, SinkError> {
        let known = self.told(self.layout(recipe, SCHEMA_TRUST).await).await?;
        Ok(warnings(&known.layout, &recipe.tables))
    }

    async fn ensure_ledger(&self) -> Result<(), SinkError> {
        self.told(self.store.ensure_ledger().await).await
    }

    async fn write(&self, recipe: &Recipe, units: &[Unit]) -> Result<Vec<UnitOutcome>, SinkError> {
        let entries: Vec<Entry> = units.iter().map(|unit| Entry::new(&unit.key)).collect();
        let mut outcomes = vec![None; units.len()];
        let mut first = HashMap::with_capacity(units.len());
        for (index, entry) in entries.iter().enumerate() {
            first.entry(entry.digest).or_insert(index);
        }
        let (mut trust, mut again) = (Duration::MAX, false);
        loop {
            let known = match self.layout(recipe, trust).await {
                Ok(known) => known,
                Err(failure) => return Err(self.interrupted(failure).await),
            };
            let mut batch = Vec::with_capacity(units.len());
            let mut misfits = 0;
            for (index, (unit, entry)) in units.iter().zip(&entries).enumerate() {
                let done = matches!(outcomes[index], Some(UnitOutcome::Applied { .. } | UnitOutcome::AlreadyApplied));
                if done || first[&entry.digest] != index {
                    continue;
                }
                match prepare(S::KIND, &known.layout, entry, unit) {
                    Ok(prepared) => batch.push((index, prepared)),
                    Err(rejection) => {
                        misfits += 1;
                        outcomes[index] = Some(UnitOutcome::Rejected(rejection));
                    }
                }
            }
            if misfits > 0 && known.read_at.elapsed() >= SCHEMA_TRUST {
                trust = SCHEMA_TRUST;
                continue;
            }
            if let Err(failure) = self.write_prepared(recipe, &known.layout, &batch, &mut outcomes).await {
                return Err(self.interrupted(failure).await);
            }
            // Before a job is refused for its rows: are the tables what the recipe needs, and were they just now? Where others
            // wrote to the same tables, they were lately.
            let refused = tables(&batch, |index| matches!(outcomes[index], Some(UnitOutcome::Rejected(_))));
            if !refused.is_empty() {
                let written = tables(&batch, |index| matches!(outcomes[index], Some(UnitOutcome::Applied { .. })));
                let age = if refused.is_subset(&written) { SCHEMA_TRUST } else { Duration::ZERO };
                let now = match self.layout(recipe, age).await {
                    Ok(now) => now,
                    Err(failure) => return Err(self.interrupted(failure).await),
                };
                // Where the tables were found wanting, a row may have been refused a moment before that was put right.
                if !again && (now.layout != known.layout || self.misfit.lately()) {
                    again = true;
                    continue;
                }
            }
            break;
        }
        Ok(settle(&entries, &first, &outcomes))
    }

    async fn check(&self, recipe: &Recipe, rows: &RowTree) -> Result<Vec<Misfit>, SinkError> {
        let known = self.told(self.layout(recipe, Duration::MAX).await).await?;
        Ok(check::misfits(S::KIND, &known.layout, rows))
    }

    async fn rehearse(&self, recipe: &Recipe, unit: &Unit) -> Result<UnitOutcome, SinkError> {
        let known = self.told(self.layout(recipe, Duration::MAX).await).await?;
        let entry = Entry::new(&unit.key);
        let prepared = match prepare(S::KIND, &known.layout, &entry, unit) {
            Ok(prepared) => prepared,
            Err(rejection) => return Ok(UnitOutcome::Rejected(rejection)),
        };
        let unit = (0, prepared);
        let mut outcome = self.write_and_roll_back(&known.layout, &unit, Way::Whole).await;
        if let Err(Failure::RepeatedKey(_)) = outcome {
            outcome = self.write_and_roll_back(&known.layout, &unit, Way::RowByRow).await;
        }
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(failure) => match Setback::from(failure) {
                Setback::Outage(failure) => Err(self.away(failure).await),
                Setback::Answer(failure) => {
                    if failure.is_dubious() {
                        let room = room_for(&failure, std::slice::from_ref(&unit));
                        self.told(self.must_be_well(recipe, &known.layout, room, &failure).await).await?;
                    }
                    let rejection = failure.into_rejection();
                    Ok(UnitOutcome::Rejected(blame::explain(&self.store, &known.layout, &unit.1, rejection).await))
                }
            },
        }
    }

    async fn prune_ledger(&self, age: Duration) -> Result<u64, SinkError> {
        self.told(self.store.prune_ledger(age).await).await
    }

    async fn ping(&self) -> Result<(), SinkError> {
        self.told(self.store.ping().await).await
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.told(self.trial_write().await).await
    }

    async fn count(&self, table: &str) -> Result<u64, SinkError> {
        self.told(self.store.count(table).await).await
    }
}

/// A unit that repeats another one's key within the batch shares its fate: refused with it, or applied by it already.
fn settle(entries: &[Entry], first: &HashMap<Digest, usize>, outcomes: &[Option<UnitOutcome>]) -> Vec<UnitOutcome> {
    let of_first = |index: usize| outcomes[index].clone().expect("every distinct unit has an outcome");
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| match (first[&entry.digest], of_first(first[&entry.digest])) {
            (place, UnitOutcome::Applied { .. }) if place != index => UnitOutcome::AlreadyApplied,
            (_, outcome) => outcome,
        })
        .collect()
}
