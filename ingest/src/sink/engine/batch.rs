//! A batch: in one transaction if all of it can be written, and otherwise without the units at fault.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::{
    super::{UnitOutcome, failure::Failure, layout::Layout, prepared::Prepared, rejection, store::Store},
    room::room_for,
    state::Engine,
    transaction::{NotCommitted, PartOutcomes, WriteMode},
};
use crate::Recipe;

/// What still collides after so long is given up as it is.
const END_OF_PATIENCE: Duration = Duration::from_secs(60);

impl<S: Store> Engine<S> {
    /// Commits the batch: as a whole, without those units that fail in the same transaction, or, where the transaction cannot
    /// go on after a failure, in halves until each bad unit stands alone.
    pub(super) async fn write_prepared(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        batch: &[(usize, Prepared<'_>)],
        outcomes: &mut [Option<UnitOutcome>],
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut pending = Vec::from_iter(Some(batch).filter(|batch| !batch.is_empty()));
        // After a refusal within the last minute another one is likely: to sift at once saves an attempt that fails.
        let mut sifts = batch.len() > 1 && self.refused.is_recent();
        let mut sifted = sifts;
        // Bytes of free room that trials have shown so far; `None` before the first trial.
        let mut shown_room = None;
        let mut suspects = Vec::new();
        while let Some(part) = pending.pop() {
            let whole = part.len() == batch.len();
            let mode = if std::mem::take(&mut sifts) {
                WriteMode::WithSavepoints { tried: shown_room.is_some() }
            } else {
                WriteMode::AllRowsAtOnce
            };
            let failure = match self.commit_part(layout, part, whole, mode, began).await {
                Ok(written) => {
                    suspects.extend(self.record(layout, part, written, outcomes).await);
                    continue;
                }
                Err(NotCommitted::Outage(failure)) => return Err(failure),
                Err(NotCommitted::Answer(failure)) => failure,
            };
            let needs_trial = matches!(failure, Failure::Full(_) | Failure::Slow(_));
            // Once, or again after a trial.
            let sift = part.len() > 1
                && (!sifted || needs_trial && shown_room.is_none())
                && (failure.is_of_rows() || failure.leaves_fault_open());
            // What a sifted part can tell of the database it tells by itself, but for room and speed.
            if failure.leaves_fault_open() && (!sift || needs_trial) {
                self.must_show_room(recipe, layout, room_for(&failure, part), &failure, &mut shown_room).await?;
            }
            if sift {
                (sifts, sifted) = (true, true);
                pending.push(part);
                continue;
            }
            let given_up = matches!(failure, Failure::Contention(_)) && began.elapsed() >= END_OF_PATIENCE;
            if let (Failure::Slow(words), 2.., true) = (&failure, part.len(), sifted) {
                return Err(Failure::Away(format!("statements take too long: {words}")));
            }
            if part.len() > 1 && !given_up {
                let (first, second) = part.split_at(part.len() / 2);
                pending.push(second);
                pending.push(first);
            } else if failure.leaves_fault_open() {
                suspects.push((&part[0], failure));
            } else {
                for unit in part {
                    outcomes[unit.0] = Some(self.reject(layout, &unit.1, failure.clone()).await);
                }
            }
        }
        self.judge(recipe, layout, suspects, batch.len(), outcomes).await
    }

    /// Tries the database, unless a trial of this batch has shown as much room before; `shown` is how many bytes.
    async fn must_show_room(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        room: usize,
        failure: &Failure,
        shown: &mut Option<usize>,
    ) -> Result<(), Failure> {
        if shown.is_none_or(|shown| shown < room) {
            self.must_be_well(recipe, layout, room, failure).await?;
            *shown = Some(room);
        }
        Ok(())
    }

    /// Notes what became of a part that was committed. Returns the units that were left out without it being clear whose fault
    /// that is: the database is cleared where others that wrote to the same tables were committed after them.
    async fn record<'p, 'u>(
        &self,
        layout: &Layout,
        part: &'p [(usize, Prepared<'u>)],
        written: PartOutcomes,
        outcomes: &mut [Option<UnitOutcome>],
    ) -> Vec<(&'p (usize, Prepared<'u>), Failure)> {
        for (unit, outcome) in part.iter().zip(&written) {
            outcomes[unit.0] = outcome.as_ref().ok().cloned();
        }
        let served = tables(part, |index| matches!(outcomes[index], Some(UnitOutcome::Applied { .. })));
        let cleared = |unit: &Prepared<'_>| unit.rows.iter().all(|row| served.contains(&row.plan));
        let mut suspects = Vec::new();
        for (unit, outcome) in part.iter().zip(written) {
            match outcome {
                Ok(_) => {}
                Err(failure) if failure.leaves_fault_open() && !cleared(&unit.1) => suspects.push((unit, failure)),
                Err(failure) => outcomes[unit.0] = Some(self.reject(layout, &unit.1, failure).await),
            }
        }
        suspects
    }

    /// The outcome of a unit that stood alone and failed, with the column at fault where it can be found.
    pub(super) async fn reject(&self, layout: &Layout, unit: &Prepared<'_>, failure: Failure) -> UnitOutcome {
        self.refused.record();
        let of_unknown_fault = failure.leaves_fault_open();
        let rejection = failure.into_rejection();
        if of_unknown_fault {
            return UnitOutcome::Rejected(rejection);
        }
        UnitOutcome::Rejected(rejection::explain(&self.store, layout, unit, rejection).await)
    }
}

/// The tables, as indexes into the layout's plans, to which the chosen units write; units are chosen by their index.
pub(super) fn tables(part: &[(usize, Prepared<'_>)], chosen: impl Fn(usize) -> bool) -> HashSet<usize> {
    let chosen = part.iter().filter(|(index, _)| chosen(*index));
    chosen.flat_map(|(_, unit)| unit.rows.iter().map(|row| row.plan)).collect()
}
