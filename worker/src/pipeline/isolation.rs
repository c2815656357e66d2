//! Which job of a batch breaks the connection to the database: a part that fails again and again is halved until that job is
//! alone. Pure. A record that the database refuses with an error is found by the engine (`ingest/src/sink/engine/`).

/// How often a lone job may break the connection before it is held responsible, if each time others went through, or the
/// database took a trial write right after it.
pub(super) const MOST_BREAKS: u32 = 5;

/// The failed writes of one part of a batch.
#[derive(Debug, Default)]
pub(super) struct FailureHistory {
    /// How often the database went away when the part was written.
    failures: u32,
    /// How often the database was seen to take writes between two of those: it is this part then, not the database.
    breaks: u32,
    /// [`WriteFailure::successes`] at the last failure.
    successes: u64,
}

/// What is known when a write failed.
#[derive(Debug)]
pub(super) struct WriteFailure {
    /// Jobs in the part.
    pub(super) jobs: usize,
    /// How many writes of jobs succeeded so far, of all batches.
    pub(super) successes: u64,
    /// The connection ended under a lone job, and the database took a trial write after it.
    pub(super) broke_connection: bool,
    /// The database itself says that it takes no writes (a full disk). Others may still go through, as far as there is room
    /// for them; they are not kept waiting by this part, but no job fails for it.
    pub(super) unwritable: bool,
}

/// What to do with a part after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Write it again when the database is back.
    Retry,
    /// Write its halves, each by itself.
    Halve,
    /// Write it again after a while, and the others meanwhile: it failed so many times while they went through.
    RetryAlone {
        /// How often.
        breaks: u32,
    },
    /// Fail the one job that breaks the connection.
    Fail,
}

impl FailureHistory {
    /// Judges a failure by what was written in between, and by whether it was this part that broke the connection.
    pub(super) fn after(&mut self, failure: &WriteFailure) -> NextStep {
        let WriteFailure { jobs, successes, broke_connection, unwritable } = *failure;
        let others_went_through = self.failures > 0 && successes > self.successes;
        if broke_connection || others_went_through {
            self.breaks += 1;
        } else if unwritable {
            self.breaks = 0;
        }
        self.failures += 1;
        self.successes = successes;
        if jobs == 1 && self.breaks >= MOST_BREAKS && !unwritable {
            NextStep::Fail
        } else if jobs > 1 && self.failures > 1 {
            NextStep::Halve
        } else if self.breaks > 0 {
            NextStep::RetryAlone { breaks: self.breaks }
        } else {
            NextStep::Retry
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(jobs: usize, successes: u64) -> WriteFailure {
        WriteFailure { jobs, successes, broke_connection: false, unwritable: false }
    }

    #[test]
    fn an_outage_halves_a_part_and_fails_no_job() {
        let mut history = FailureHistory::default();
        assert_eq!(history.after(&failure(8, 3)), NextStep::Retry);
        assert_eq!(history.after(&failure(8, 3)), NextStep::Halve);
        let mut lone = FailureHistory::default();
        assert!((0..100).all(|_| lone.after(&failure(1, 3)) == NextStep::Retry));
    }

    #[test]
    fn a_lone_job_fails_after_so_many_failures_between_which_others_went_through() {
        let mut history = FailureHistory::default();
        assert_eq!(history.after(&failure(1, 0)), NextStep::Retry);
        for breaks in 1..MOST_BREAKS {
            assert_eq!(history.after(&failure(1, u64::from(breaks))), NextStep::RetryAlone { breaks });
        }
        assert_eq!(history.after(&failure(1, 100)), NextStep::Fail);
    }

    #[test]
    fn no_job_fails_for_a_full_disk() {
        let mut history = FailureHistory::default();
        let full = |successes| WriteFailure { unwritable: true, ..failure(1, successes) };
        assert!((0..100).all(|successes| history.after(&full(successes)) != NextStep::Fail));
        assert_eq!(history.after(&full(99)), NextStep::Retry, "nothing went through in between");
    }
}
