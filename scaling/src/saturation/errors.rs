//! Workers that say that their database takes nothing from them.

use serde::{Deserialize, Serialize};

use crate::{Limit, Observation};

/// Errors that last so long, in seconds, count.
const ERRORS_SECONDS: f64 = 5.0;

/// Since when there are any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Errors {
    since: Option<f64>,
    /// The workers, ready or asked for, and since when there are not more of them.
    all: u32,
    fewer_since: f64,
}

/// What follows from it: a limit and how many workers there may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Refused {
    /// Nothing.
    No,
    /// The database takes nothing from any worker: nobody is added as long as that lasts, and nothing follows for later.
    All(Limit, u32),
    /// It takes nothing from some: no more than the others.
    Some(Limit, u32),
}

impl Errors {
    /// Whether there are any.
    pub(super) fn last(&self) -> bool {
        self.since.is_some()
    }

    /// Takes in a poll.
    pub(super) fn judge(&mut self, clock: f64, seen: &Observation) -> Refused {
        let (refused, ready) = (seen.troubled, seen.workers.ready);
        // What says it is often a worker that is not ready for that very reason.
        let all = ready.max(seen.workers.desired);
        if std::mem::replace(&mut self.all, all) > all {
            self.fewer_since = clock;
        }
        if refused == 0 {
            self.since = None;
            return Refused::No;
        }
        let since = *self.since.get_or_insert(clock);
        if clock - since < ERRORS_SECONDS {
            return Refused::No;
        }
        let limit = Limit::DatabaseErrors { workers: refused, of: all };
        if refused >= all {
            return Refused::All(limit, all.max(1));
        }
        // Of fewer workers, others may be refused than of more: that has to last as well.
        if clock - self.fewer_since < ERRORS_SECONDS {
            return Refused::No;
        }
        Refused::Some(limit, all - refused)
    }
}
