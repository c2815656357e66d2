//! The one way in which every database takes a batch: the ledger first, then each table in the recipe's order, in one
//! transaction; tried again where it collided with another, split where a unit is at fault.
//!
//! An error's code does not say whose fault it is: a trigger can raise any code for a single record. Where that is open, a
//! trial decides. The database is healthy if its tables still fit the recipe and a trial write succeeds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    LEDGER_TABLE, Misfit, Sink, SinkError, SinkOptions, Unit, UnitOutcome, blame, check,
    convert::Cell,
    failure::Failure,
    layout::{Layout, Plan, warnings},
    ledger::{Digest, Entry},
    store::{Landed, Store},
    units::{BoundRow, Prepared, prepare},
};
use crate::{OnConflict, Recipe, RecipeProblem, RowTree, recipe::TablePlan};

/// A [`Sink`] over any [`Store`].
pub(super) struct Engine<S> {
    store: S,
    options: SinkOptions,
    layout: Mutex<Option<Known>>,
    /// When the tables were last found wanting.
    misfit: Mutex<Option<Instant>>,
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

/// Longer than a worker waits between two attempts while the tables are not what the recipe needs.
const LATELY: Duration = Duration::from_secs(60);

/// Within one call, collisions are met with patience for this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Several units that collide for longer than this are split: one of them may keep the others waiting.
const SHARED_PATIENCE: Duration = Duration::from_secs(10);

/// What still collides after so long is given up as it is.
const END_OF_PATIENCE: Duration = Duration::from_secs(60);

/// How often a part of a batch that collided is tried before it is split further.
const PART_ATTEMPTS: u32 = 2;

/// The least and the most that a trial for free room writes, in bytes.
const ROOM: (usize, usize) = (256 << 10, 16 << 20);

/// Why a transaction was not committed.
enum Setback {
    /// It did not begin, or its connection is gone.
    Outage(Failure),
    /// The database answered so.
    Answer(Failure),
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(_) | Failure::Unwritable(_) | Failure::Broken(_) | Failure::Busy(_) => Self::Outage(failure),
            answer => Self::Answer(answer),
        }
    }
}

impl<S: Store> Engine<S> {
    pub(super) fn new(store: S, options: SinkOptions) -> Self {
        Self { store, options, layout: Mutex::new(None), misfit: Mutex::new(None) }
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
            *self.misfit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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

    /// Whether the tables were found wanting lately: a row may have been refused for that a moment before it was put right.
    fn was_misfit(&self) -> bool {
        let misfit = *self.misfit.lock().unwrap_or_else(PoisonError::into_inner);
        misfit.is_some_and(|at| at.elapsed() < LATELY)
    }

    fn forget_layout(&self) {
        *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Commits the batch, splitting it until each bad unit stands alone.
    async fn write_prepared(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        batch: &[(usize, Prepared<'_>)],
        outcomes: &mut [Option<UnitOutcome>],
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut pending = vec![batch];
        // Bytes of free room that trials have shown so far; `None` before the first trial.
        let mut served = None;
        let mut suspects = Vec::new();
        while let Some(part) = pending.pop() {
            if part.is_empty() {
                continue;
            }
            let failure = match self.commit_part(layout, part, part.len() == batch.len(), began).await {
                Ok(landed) => {
                    for ((index, _), outcome) in part.iter().zip(landed) {
                        outcomes[*index] = Some(outcome);
                    }
                    continue;
                }
                Err(Setback::Outage(failure)) => return Err(failure),
                Err(Setback::Answer(failure)) => failure,
            };
            if failure.is_dubious() {
                let room = room_for(&failure, part);
                if served.is_none_or(|shown| shown < room) {
                    self.must_be_well(recipe, layout, room, &failure).await?;
                    served = Some(room);
                }
            }
            let given_up = matches!(failure, Failure::Contention(_)) && began.elapsed() >= END_OF_PATIENCE;
            if part.len() > 1 && !given_up {
                let (first, second) = part.split_at(part.len() / 2);
                pending.push(second);
                pending.push(first);
            } else if failure.is_dubious() {
                suspects.push((&part[0], failure));
            } else {
                let mut rejection = failure.into_rejection();
                if let [(_, unit)] = part {
                    rejection = blame::explain(&self.store, layout, unit, rejection).await;
                }
                for (index, _) in part {
                    outcomes[*index] = Some(UnitOutcome::Rejected(rejection.clone()));
                }
            }
        }
        self.judge(recipe, layout, suspects, batch.len(), outcomes).await
    }

    /// Tries each unit that failed alone, for a reason that may be the database's, once more. The unit is at fault if the
    /// database was healthy before and after it failed.
    async fn judge(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        suspects: Vec<(&(usize, Prepared<'_>), Failure)>,
        batch: usize,
        outcomes: &mut [Option<UnitOutcome>],
    ) -> Result<(), Failure> {
        let room = suspects.iter().map(|(unit, failure)| room_for(failure, std::slice::from_ref(*unit))).max();
        if let (Some(room), Some((_, failure)), 2..) = (room, suspects.last(), batch) {
            self.must_be_well(recipe, layout, room, failure).await?;
        }
        for (unit, _) in suspects {
            let part = std::slice::from_ref(unit);
            outcomes[unit.0] = match self.commit_part(layout, part, true, Instant::now()).await {
                Ok(mut landed) => landed.pop(),
                Err(Setback::Outage(failure)) => return Err(failure),
                Err(Setback::Answer(failure)) => Some(UnitOutcome::Rejected(failure.into_rejection())),
            };
        }
        Ok(())
    }

    /// Returns an error if a trial write fails too: then `failure` is an outage, and no unit's fault.
    async fn must_be_well(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        room: usize,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let found = match tokio::time::timeout(self.options.answer_timeout, self.experiment(recipe, layout, room)).await
        {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(found)) => found,
            Err(_) => Failure::Away("no answer to a trial write in time".into()),
        };
        tracing::debug!(?found, ?failure, "the database fails a trial write, too");
        Err(if matches!(found, Failure::Misfit(_)) { found } else { failure.clone() })
    }

    /// Whether the tables are what the recipe needs, a ledger entry can be committed, each table can be written to, and,
    /// if asked for, there are `room` bytes left. Leaves nothing.
    async fn experiment(&self, recipe: &Recipe, layout: &Layout, room: usize) -> Result<(), Failure> {
        if let Err(problems) = self.read_layout(recipe).await? {
            return Err(misfit(&problems));
        }
        if self.store.table(LEDGER_TABLE).await?.is_none() {
            return Err(Failure::Misfit(format!("the table {LEDGER_TABLE} is gone")));
        }
        self.trial_write().await?;
        let mut tx = self.store.begin().await?;
        for plan in layout.plans.iter().filter(|plan| !plan.columns.is_empty()) {
            self.store.rehearse(&mut tx, plan).await?;
        }
        self.store.rollback(tx).await;
        if room > 0 { self.trial_of_room(layout, room).await } else { Ok(()) }
    }

    /// Writes to the ledger, takes it back and commits.
    async fn trial_write(&self) -> Result<(), Failure> {
        let entry = Entry::trial(String::new());
        let mut tx = self.store.begin().await?;
        self.store.enter(&mut tx, &[&entry]).await?;
        self.store.forget(&mut tx, &entry).await?;
        self.store.commit(tx).await
    }

    /// Fills the ledger with so many bytes and takes them back. That says nothing of tables that lie elsewhere.
    async fn trial_of_room(&self, layout: &Layout, room: usize) -> Result<(), Failure> {
        let elsewhere = || Failure::Full("the tables lie on another disk than the ledger".into());
        if !self.store.shares_disk(&layout.plans).await? {
            return Err(elsewhere());
        }
        let ballast = Entry::ballast(S::KIND, room);
        let mut tx = self.store.begin().await?;
        self.store.enter(&mut tx, &ballast.iter().collect::<Vec<_>>()).await?;
        if S::WRITES_AT_ONCE {
            self.store.rollback(tx).await;
            return Ok(());
        }
        self.store.commit(tx).await?;
        let mut tx = self.store.begin().await?;
        for entry in &ballast {
            self.store.forget(&mut tx, entry).await?;
        }
        self.store.commit(tx).await
    }

    /// One transaction, tried again while it collides with others; a `whole` batch, or a lone unit, more often than a part.
    async fn commit_part(
        &self,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        whole: bool,
        began: Instant,
    ) -> Result<Vec<UnitOutcome>, Setback> {
        let alone = part.len() == 1;
        let patience = if alone { PATIENCE } else { SHARED_PATIENCE };
        let most = self.options.contention_attempts;
        let attempts = if whole || alone { most } else { most.min(PART_ATTEMPTS) };
        let mut attempt = 1;
        let mut row_by_row = false;
        loop {
            let setback = match self.attempt(layout, part, row_by_row).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(setback) => setback,
            };
            let (words, again) = match &setback {
                Setback::Answer(Failure::RepeatedKey(_)) if !row_by_row => {
                    row_by_row = true;
                    continue;
                }
                Setback::Answer(Failure::Contention(words)) => {
                    (words, attempt < attempts && began.elapsed() < patience)
                }
                // Not these units collide, but all that are to be written.
                Setback::Outage(Failure::Busy(words)) => (words, attempt < most && began.elapsed() < PATIENCE),
                _ => return Err(setback),
            };
            if !again {
                return Err(setback);
            }
            tracing::debug!(attempt, words, "the batch collided with another transaction");
            tokio::time::sleep(pause(attempt, rand::random())).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        row_by_row: bool,
    ) -> Result<Vec<UnitOutcome>, Setback> {
        let transaction = async {
            let mut tx = self.store.begin().await.map_err(|failure| Setback::Outage(failure.at_the_door()))?;
            match self.apply(&mut tx, layout, part, row_by_row).await {
                Ok(outcomes) => self.store.commit(tx).await.map(|()| outcomes).map_err(Setback::from),
                Err(failure) => {
                    let alive = self.store.rollback(tx).await;
                    if failure.is_dubious() && !alive {
                        return Err(Setback::Outage(Failure::Broken(failure.into_words())));
                    }
                    Err(Setback::from(failure))
                }
            }
        };
        // A network that swallows packets would keep us for as long as the kernel goes on trying.
        let limit = self.options.answer_timeout;
        tokio::time::timeout(limit, transaction).await.unwrap_or_else(|_| {
            Err(Setback::Outage(Failure::Away(format!("no answer within {} s", limit.as_secs_f64()))))
        })
    }

    /// One transaction of one unit, which is not committed.
    async fn write_and_roll_back(
        &self,
        layout: &Layout,
        part: &[(usize, Prepared<'_>); 1],
        row_by_row: bool,
    ) -> Result<UnitOutcome, Failure> {
        let mut tx = self.store.begin().await?;
        let outcomes = match self.apply(&mut tx, layout, part, row_by_row).await {
            Ok(outcomes) => self.store.check_deferred(&mut tx).await.map(|()| outcomes),
            Err(failure) => Err(failure),
        };
        self.store.rollback(tx).await;
        outcomes.map(|mut outcomes| outcomes.swap_remove(0))
    }

    async fn apply(
        &self,
        tx: &mut S::Tx,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        row_by_row: bool,
    ) -> Result<Vec<UnitOutcome>, Failure> {
        // In one order everywhere, so that two writers of the same units wait for each other instead of deadlocking.
        let mut entries: Vec<&Entry> = part.iter().map(|(_, unit)| unit.entry).collect();
        entries.sort_unstable_by_key(|entry| entry.digest);
        let fresh = self.store.enter(tx, &entries).await?;
        let mut landed: Vec<Vec<Option<Landed>>> = part
            .iter()
            .map(|(_, unit)| if fresh.contains(&unit.entry.digest) { vec![None; unit.rows.len()] } else { Vec::new() })
            .collect();
        for (index, plan) in layout.plans.iter().enumerate() {
            self.write_table(tx, index, plan, part, &mut landed, row_by_row)
                .await
                .map_err(|failure| failure.of_table(&plan.table))?;
        }
        let outcome = |((_, unit), rows): (&(usize, Prepared<'_>), &Vec<Option<Landed>>)| {
            if fresh.contains(&unit.entry.digest) {
                UnitOutcome::Applied { rows: rows.iter().filter(|row| row.is_some()).count() as u64 }
            } else {
                UnitOutcome::AlreadyApplied
            }
        };
        Ok(part.iter().zip(&landed).map(outcome).collect())
    }

    /// All rows of one table, for all units of the batch.
    async fn write_table(
        &self,
        tx: &mut S::Tx,
        index: usize,
        plan: &Plan,
        part: &[(usize, Prepared<'_>)],
        landed: &mut [Vec<Option<Landed>>],
        row_by_row: bool,
    ) -> Result<(), Failure> {
        let mut places = Vec::new();
        let mut rows = Vec::new();
        for (unit, (_, prepared)) in part.iter().enumerate() {
            if landed[unit].is_empty() {
                continue;
            }
            for (place, row) in prepared.rows.iter().enumerate().filter(|(_, row)| row.plan == index) {
                let parent = match row.parent.map(|parent| &landed[unit][parent]) {
                    None => None,
                    Some(Some(Landed::There(id))) => id.as_ref(),
                    // Children of an ignored row are not written, nor are theirs.
                    Some(Some(Landed::Ignored) | None) => continue,
                };
                places.push((unit, place));
                rows.push(BoundRow { cells: &row.cells, parent });
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let results = self.write_rows(tx, plan, &rows, row_by_row).await?;
        for ((unit, place), result) in places.into_iter().zip(results) {
            landed[unit][place] = Some(result);
        }
        Ok(())
    }

    async fn write_rows(
        &self,
        tx: &mut S::Tx,
        plan: &Plan,
        rows: &[BoundRow<'_>],
        row_by_row: bool,
    ) -> Result<Vec<Landed>, Failure> {
        if plan.row_by_row || (row_by_row && (plan.on_conflict != OnConflict::Fail || plan.id.is_some())) {
            let mut landed = Vec::with_capacity(rows.len());
            for row in rows {
                landed.push(self.store.insert_one(tx, plan, *row).await?);
            }
            return Ok(landed);
        }
        match &plan.id {
            Some(id) => {
                let ids = match id.given {
                    Some(column) => {
                        self.store.insert(tx, plan, rows).await?;
                        rows.iter().map(|row| row.cell(column).to_owned_cell()).collect()
                    }
                    None => self.store.insert_with_ids(tx, plan, rows).await?,
                };
                Ok(ids.into_iter().map(|id| Landed::There(Some(id))).collect())
            }
            None if plan.on_conflict == OnConflict::Update => {
                self.store.insert(tx, plan, &last_of_each_key(plan, rows)).await?;
                Ok(vec![Landed::There(None); rows.len()])
            }
            None => {
                self.store.insert(tx, plan, rows).await?;
                Ok(vec![Landed::There(None); rows.len()])
            }
        }
    }
}

fn misfit(problems: &[RecipeProblem]) -> Failure {
    Failure::Misfit(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// How much room a database must show to have, so that `failure` is not its own: more than the part takes, indexes included.
fn room_for(failure: &Failure, part: &[(usize, Prepared<'_>)]) -> usize {
    if !matches!(failure, Failure::Full(_)) {
        return 0;
    }
    let rows = part.iter().flat_map(|(_, unit)| &unit.rows);
    let size: usize = rows.map(|row| BoundRow { cells: &row.cells, parent: None }.size()).sum();
    size.saturating_mul(2).clamp(ROOM.0, ROOM.1)
}

/// Of rows with the same key the last one wins, as if they had been written one after the other. In the order of the
/// key, so that concurrent writers meet the rows in one order.
fn last_of_each_key<'a>(plan: &Plan, rows: &[BoundRow<'a>]) -> Vec<BoundRow<'a>> {
    let columns: Vec<usize> =
        plan.key.iter().filter_map(|name| plan.columns.iter().position(|column| column.name == *name)).collect();
    let mut keyed: Vec<(Vec<String>, usize)> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| (columns.iter().map(|column| format!("{:?}", row.cell(*column))).collect(), index))
        .collect();
    keyed.sort();
    let nulls = |index: usize| columns.iter().any(|column| *rows[index].cell(*column) == Cell::Null);
    let kept = keyed.iter().enumerate().filter(|(place, (key, index))| {
        // NULL is never the same as NULL.
        nulls(*index) || keyed.get(place + 1).is_none_or(|(next, _)| next != key)
    });
    kept.map(|(_, (_, index))| rows[*index]).collect()
}

/// Exponential from 10 ms, with full jitter above a floor; `jitter` is in 0..1.
fn pause(attempt: u32, jitter: f64) -> Duration {
    let ceiling = Duration::from_millis(20) * 2_u32.pow(attempt.min(6) - 1);
    Duration::from_millis(5) + ceiling.mul_f64(jitter.clamp(0.0, 1.0))
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
            let refused = |(index, _): &(usize, _)| matches!(outcomes[*index], Some(UnitOutcome::Rejected(_)));
            // Before a job is refused for its rows: are the tables what the recipe needs, and were they just now?
            if batch.iter().any(refused) {
                let now = self.layout(recipe, Duration::ZERO).await;
                let now = match now {
                    Ok(now) => now,
                    Err(failure) => return Err(self.interrupted(failure).await),
                };
                if !again && (now.layout != known.layout || self.was_misfit()) {
                    (trust, again) = (Duration::MAX, true);
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
        let part = [(0, prepared)];
        let mut outcome = self.write_and_roll_back(&known.layout, &part, false).await;
        if let Err(Failure::RepeatedKey(_)) = outcome {
            outcome = self.write_and_roll_back(&known.layout, &part, true).await;
        }
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(failure) => match Setback::from(failure) {
                Setback::Outage(failure) => Err(self.away(failure).await),
                Setback::Answer(failure) => {
                    if failure.is_dubious() {
                        let well = self.must_be_well(recipe, &known.layout, room_for(&failure, &part), &failure).await;
                        self.told(well).await?;
                    }
                    let rejection = failure.into_rejection();
                    Ok(UnitOutcome::Rejected(blame::explain(&self.store, &known.layout, &part[0].1, rejection).await))
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
