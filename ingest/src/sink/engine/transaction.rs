//! One transaction: the ledger first, then the rows; tried again while it collides with others.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        UnitOutcome,
        failure::Failure,
        layout::Layout,
        ledger::{Digest, Entry},
        prepared::Prepared,
        store::{BACK_TO_SAVEPOINT, SAVEPOINT, Store},
    },
    room::room_for,
    state::Engine,
};

/// Within one call, collisions are met with patience for this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Several units that collide for longer than this are split: one of them may keep the others waiting.
const SHARED_PATIENCE: Duration = Duration::from_secs(10);

/// How often a part of a batch that collided is tried before it is split further.
const PART_ATTEMPTS: u32 = 2;

/// Why a transaction was not committed.
pub(super) enum NotCommitted {
    /// It did not begin, or its connection is gone.
    Outage(Failure),
    /// The database answered so.
    Answer(Failure),
}

impl From<Failure> for NotCommitted {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(_) | Failure::Unwritable(_) | Failure::Broken(_) | Failure::Busy(_) => Self::Outage(failure),
            answer => Self::Answer(answer),
        }
    }
}

/// How a transaction takes its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// All or none, with one statement for each table.
    AllRowsAtOnce,
    /// All or none, with a statement for each row where rows may share a key.
    RowByRow,
    /// All but those that fail by themselves, each behind a savepoint; `tried`: the database has just passed a trial.
    WithSavepoints { tried: bool },
}

/// What became of each unit of a part; a failure where it was left out.
pub(super) type PartOutcomes = Vec<Result<UnitOutcome, Failure>>;

impl<S: Store> Engine<S> {
    /// One transaction, tried again while it collides with others; a `whole` batch, or a lone unit, more often than a part.
    pub(super) async fn commit_part(
        &self,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        whole: bool,
        mut mode: WriteMode,
        began: Instant,
    ) -> Result<PartOutcomes, NotCommitted> {
        let alone = part.len() == 1;
        let patience = if alone { PATIENCE } else { SHARED_PATIENCE };
        let most = self.options.contention_attempts;
        let attempts = if whole || alone { most } else { most.min(PART_ATTEMPTS) };
        let mut attempt = 1;
        loop {
            let setback = match self.attempt(layout, part, mode).await {
                Ok(written) => return Ok(written),
                Err(setback) => setback,
            };
            let (words, again) = match &setback {
                NotCommitted::Answer(Failure::RepeatedKey(_)) if mode == WriteMode::AllRowsAtOnce => {
                    mode = WriteMode::RowByRow;
                    continue;
                }
                NotCommitted::Answer(Failure::Contention(words)) => {
                    (words, attempt < attempts && began.elapsed() < patience)
                }
                // Not these units collide, but all that are to be written.
                NotCommitted::Outage(Failure::Busy(words)) => (words, attempt < most && began.elapsed() < PATIENCE),
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
        mode: WriteMode,
    ) -> Result<PartOutcomes, NotCommitted> {
        let transaction = async {
            let begin = async {
                self.store.begin().await.map_err(|failure| NotCommitted::Outage(failure.before_transaction()))
            };
            let mut tx = self.in_time(begin).await?;
            match self.apply(&mut tx, layout, part, mode).await {
                Ok(written) => self.in_time(self.store.commit(tx)).await.map(|()| written).map_err(NotCommitted::from),
                Err(failure) => {
                    let rollback = async { Ok::<_, Failure>(self.store.rollback(tx).await) };
                    let alive = self.in_time(rollback).await.unwrap_or(false);
                    if failure.leaves_fault_open() && !alive {
                        return Err(NotCommitted::Outage(Failure::Broken(failure.into_words())));
                    }
                    Err(NotCommitted::from(failure))
                }
            }
        };
        // A sifted part may have several statements that are ended for their time: there, each has the limit for itself.
        if matches!(mode, WriteMode::WithSavepoints { .. }) {
            transaction.await
        } else {
            self.in_time(transaction).await
        }
    }

    /// A network that swallows packets would keep us for as long as the kernel goes on trying.
    pub(super) async fn in_time<T, E: From<Failure>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let limit = self.options.answer_timeout;
        tokio::time::timeout(limit, answer)
            .await
            .unwrap_or_else(|_| Err(Failure::Away(format!("no answer within {} s", limit.as_secs_f64())).into()))
    }

    /// One transaction of one unit, which is not committed.
    pub(super) async fn write_and_roll_back(
        &self,
        layout: &Layout,
        unit: &(usize, Prepared<'_>),
        mode: WriteMode,
    ) -> Result<UnitOutcome, Failure> {
        let mut tx = self.store.begin().await?;
        let written = match self.apply(&mut tx, layout, std::slice::from_ref(unit), mode).await {
            Ok(written) => self.store.check_deferred(&mut tx).await.map(|()| written),
            Err(failure) => Err(failure),
        };
        self.store.rollback(tx).await;
        written.and_then(|mut written| written.swap_remove(0))
    }

    async fn apply(
        &self,
        tx: &mut S::Tx,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        mode: WriteMode,
    ) -> Result<PartOutcomes, Failure> {
        // In one order everywhere, so that two writers of the same units wait for each other instead of deadlocking.
        let mut entries: Vec<&Entry> = part.iter().map(|(_, unit)| unit.entry).collect();
        entries.sort_unstable_by_key(|entry| entry.digest);
        let fresh = self.in_time(self.store.enter(tx, &entries)).await?;
        if let WriteMode::WithSavepoints { tried } = mode {
            return self.sift(tx, layout, part, &fresh, tried).await;
        }
        let written = self.write_tables(tx, layout, part, &fresh, mode == WriteMode::RowByRow).await?;
        Ok(written.into_iter().map(Ok).collect())
    }

    /// Halves the part until each unit that fails stands alone. Those are tried once more after all others, when there is room
    /// if that was what they lacked, and then left out, with their ledger entries. An error where the transaction cannot go on.
    async fn sift(
        &self,
        tx: &mut S::Tx,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        fresh: &HashSet<Digest>,
        tried: bool,
    ) -> Result<PartOutcomes, Failure> {
        // Two records that take too long end so many statements while their parts are halved. If more are slow, so is the
        // database.
        let mut slow_left = if tried { 2 * (part.len().ilog2() + 2) } else { 0 };
        let mut written: Vec<Option<Result<UnitOutcome, Failure>>> = vec![None; part.len()];
        let all = 0..part.len();
        let mut pending = vec![all];
        let mut failed = Vec::new();
        self.in_time(self.store.limit_statements(tx, self.options.statement_timeout() / 4)).await?;
        while let Some(range) = pending.pop() {
            match self.write_or_undo(tx, layout, &part[range.clone()], fresh).await? {
                Ok(outcomes) => written[range].iter_mut().zip(outcomes).for_each(|(unit, it)| *unit = Some(Ok(it))),
                Err(failure @ Failure::Slow(_)) if slow_left == 0 => return Err(failure),
                Err(failure) if range.len() == 1 => failed.push((range.start, failure)),
                Err(failure) => {
                    slow_left -= u32::from(matches!(failure, Failure::Slow(_)));
                    let middle = range.start + range.len() / 2;
                    pending.extend([middle..range.end, range.start..middle]);
                }
            }
        }
        let mut without_room = failed.iter().filter(|(_, failure)| matches!(failure, Failure::Full(_)));
        if let Some((index, failure)) = without_room.next() {
            // Several are rather the database's fault, and room in the ledger must say something of the tables. Else nothing
            // is committed before a trial.
            if without_room.next().is_some() || !S::WRITES_AT_ONCE || !self.one_disk.is_recent() {
                return Err(failure.clone());
            }
            let room = room_for(failure, std::slice::from_ref(&part[*index]));
            self.in_time(self.find_room(tx, room)).await?;
        }
        for (index, failure) in failed {
            let unit = std::slice::from_ref(&part[index]);
            let mut again = Err(failure);
            if again.as_ref().is_err_and(Failure::leaves_fault_open) {
                again = self.write_or_undo(tx, layout, unit, fresh).await?.map(|mut outcomes| outcomes.swap_remove(0));
            }
            if again.is_err() {
                self.in_time(self.store.forget(tx, unit[0].1.entry)).await?;
            }
            written[index] = Some(again);
        }
        Ok(written.into_iter().map(|unit| unit.expect("every unit was written or failed alone")).collect())
    }

    /// The part's rows, or their failure, with nothing of them written. An error where the transaction cannot go on.
    async fn write_or_undo(
        &self,
        tx: &mut S::Tx,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        fresh: &HashSet<Digest>,
    ) -> Result<Result<Vec<UnitOutcome>, Failure>, Failure> {
        self.in_time(self.store.run(tx, SAVEPOINT)).await?;
        let mut row_by_row = false;
        loop {
            let failure = match self.in_time(self.write_tables(tx, layout, part, fresh, row_by_row)).await {
                Ok(outcomes) => return Ok(Ok(outcomes)),
                Err(failure) if failure.is_of_rows() || failure.leaves_fault_open() => failure,
                Err(failure) => return Err(failure),
            };
            self.in_time(self.store.run(tx, BACK_TO_SAVEPOINT)).await?;
            if row_by_row || !matches!(failure, Failure::RepeatedKey(_)) {
                return Ok(Err(failure));
            }
            row_by_row = true;
        }
    }
}

/// Exponential from 10 ms, with full jitter above a floor; `jitter` is in 0..1.
fn pause(attempt: u32, jitter: f64) -> Duration {
    let ceiling = Duration::from_millis(20) * 2_u32.pow(attempt.min(6) - 1);
    Duration::from_millis(5) + ceiling.mul_f64(jitter.clamp(0.0, 1.0))
}
