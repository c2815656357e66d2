//! The database connections of queues that share a budget, added up.

use std::{collections::HashMap, sync::Arc};

use crate::state::queue_state::{Connections, QueueState};

/// A budget of database connections: those that a server has for some queues of a namespace.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// The namespace of its queues.
    pub(crate) namespace: Option<String>,
    /// Its name, as the manifests have it.
    pub(crate) name: Box<str>,
}

/// The connections by budget. Kept up with each change of a queue: thousands of queues are not added up at each poll.
#[derive(Debug, Default)]
pub(super) struct Budgets(HashMap<Arc<Budget>, Total>);

/// The [`Connections`] of all queues of a budget. Wider than these, so that a sum gives back what was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Total {
    asked: u64,
    beyond: u64,
}

/// What one queue has of its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    budget: Arc<Budget>,
    connections: Connections,
}

impl Share {
    /// That of a queue as it is; `None` without a budget.
    pub(super) fn of(queue: &QueueState) -> Option<Self> {
        let budget = queue.spec.budget.clone()?;
        Some(Self { budget, connections: queue.connections() })
    }
}

impl Budgets {
    /// The connections of the other queues of the budget; none without one.
    pub(super) fn elsewhere(&self, share: Option<&Share>) -> Connections {
        let Some(Share { budget, connections: ours }) = share else { return Connections::default() };
        let total = self.0.get(budget).copied().unwrap_or_default();
        let rest = |all: u64, ours: u32| u32::try_from(all.saturating_sub(u64::from(ours))).unwrap_or(u32::MAX);
        Connections { asked: rest(total.asked, ours.asked), beyond: rest(total.beyond, ours.beyond) }
    }

    /// A queue has another share than `before`, with which it counted; nothing is done if it is the same.
    pub(super) fn replace(&mut self, before: Option<Share>, now: Option<Share>) {
        if before == now {
            return;
        }
        if let Some(before) = before {
            self.remove(&before);
        }
        if let Some(Share { budget, connections: Connections { asked, beyond } }) = now {
            let total = self.0.entry(budget).or_default();
            *total = Total { asked: total.asked + u64::from(asked), beyond: total.beyond + u64::from(beyond) };
        }
    }

    fn remove(&mut self, Share { budget, connections: Connections { asked, beyond } }: &Share) {
        if let Some(total) = self.0.get_mut(budget) {
            total.asked = total.asked.saturating_sub(u64::from(*asked));
            total.beyond = total.beyond.saturating_sub(u64::from(*beyond));
            if *total == Total::default() {
                self.0.remove(budget);
            }
        }
    }
}
