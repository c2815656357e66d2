//! The engine as callers see it.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::{
    batch::tables,
    room::room_for,
    state::{Engine, SCHEMA_TRUST},
    transaction::{NotCommitted, WriteMode},
};
use crate::{
    Recipe, RecipeProblem, RowTree,
    sink::{
        Sink, SinkError, Unit, UnitOutcome, ValueMismatch, check,
        failure::Failure,
        layout::warnings,
        ledger::{Digest, Entry},
        prepared::prepare,
        rejection,
        store::Store,
    },
};

#[async_trait]
impl<S: Store> Sink for Engine<S> {
    async fn validate(&self, recipe: &Recipe) -> Result<Result<(), Vec<RecipeProblem>>, SinkError> {
        match self.read_layout(recipe).await {
            Ok(Ok(_)) => Ok(Ok(())),
            Ok(Err(problems)) => Ok(Err(problems)),
            Err(failure) => Err(self.sink_error(failure).await),
        }
    }

    async fn warnings(&self, recipe: &Recipe) -> Result<Vec<RecipeProblem>, SinkError> {
        let known = self.or_sink_error(self.layout(recipe, SCHEMA_TRUST).await).await?;
        Ok(warnings(&known.layout, &recipe.tables))
    }

    async fn ensure_ledger(&self) -> Result<(), SinkError> {
        self.or_sink_error(self.store.ensure_ledger().await).await
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
            let mut refused = 0;
            for (index, (unit, entry)) in units.iter().zip(&entries).enumerate() {
                let done = matches!(outcomes[index], Some(UnitOutcome::Applied { .. } | UnitOutcome::AlreadyApplied));
                if done || first[&entry.digest] != index {
                    continue;
                }
                match prepare(S::KIND, &known.layout, entry, unit) {
                    Ok(prepared) => batch.push((index, prepared)),
                    Err(rejection) => {
                        refused += 1;
                        outcomes[index] = Some(UnitOutcome::Rejected(rejection));
                    }
                }
            }
            if refused > 0 && known.read_at.elapsed() >= SCHEMA_TRUST {
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
                if !again && (now.layout != known.layout || self.schema_mismatch.is_recent()) {
                    again = true;
                    continue;
                }
            }
            break;
        }
        Ok(settle(&entries, &first, &outcomes))
    }

    async fn check(&self, recipe: &Recipe, rows: &RowTree) -> Result<Vec<ValueMismatch>, SinkError> {
        let known = self.or_sink_error(self.layout(recipe, Duration::MAX).await).await?;
        Ok(check::mismatches(S::KIND, &known.layout, rows))
    }

    async fn rehearse(&self, recipe: &Recipe, unit: &Unit) -> Result<UnitOutcome, SinkError> {
        let known = self.or_sink_error(self.layout(recipe, Duration::MAX).await).await?;
        let entry = Entry::new(&unit.key);
        let prepared = match prepare(S::KIND, &known.layout, &entry, unit) {
            Ok(prepared) => prepared,
            Err(rejection) => return Ok(UnitOutcome::Rejected(rejection)),
        };
        let unit = (0, prepared);
        let mut outcome = self.write_and_roll_back(&known.layout, &unit, WriteMode::AllRowsAtOnce).await;
        if let Err(Failure::RepeatedKey(_)) = outcome {
            outcome = self.write_and_roll_back(&known.layout, &unit, WriteMode::RowByRow).await;
        }
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(failure) => match NotCommitted::from(failure) {
                NotCommitted::Outage(failure) => Err(self.sink_error(failure).await),
                NotCommitted::Answer(failure) => {
                    if failure.leaves_fault_open() {
                        let room = room_for(&failure, std::slice::from_ref(&unit));
                        self.or_sink_error(self.must_be_well(recipe, &known.layout, room, &failure).await).await?;
                    }
                    let rejection = failure.into_rejection();
                    Ok(UnitOutcome::Rejected(rejection::explain(&self.store, &known.layout, &unit.1, rejection).await))
                }
            },
        }
    }

    async fn prune_ledger(&self, age: Duration) -> Result<u64, SinkError> {
        self.or_sink_error(self.store.prune_ledger(age).await).await
    }

    async fn ping(&self) -> Result<(), SinkError> {
        self.or_sink_error(self.store.ping().await).await
    }

    async fn probe(&self) -> Result<(), SinkError> {
        self.or_sink_error(self.trial_write().await).await
    }

    async fn count(&self, table: &str) -> Result<u64, SinkError> {
        self.or_sink_error(self.store.count(table).await).await
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
