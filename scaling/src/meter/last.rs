//! The sample before: what the next one is compared with, worker by worker.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::slice::Iter;

use serde::{Deserialize, Serialize};

use super::{Sample, WorkerCounters};

/// The sample before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) now: f64,
    pub(super) waiting: u64,
    pub(super) running: u64,
    /// In the order of their names.
    #[serde(with = "by_name")]
    pub(super) workers: Vec<(String, WorkerCounters)>,
}

impl Last {
    /// Whether it has the same workers, in the same order.
    pub(super) fn has_workers_of(&self, sample: &Sample) -> bool {
        let (before, now) = (&self.workers, &sample.workers);
        before.len() == now.len() && before.iter().zip(now).all(|((before, _), (name, _))| before == name)
    }

    /// This sample. If its workers are those of the one `before`, these names are kept.
    pub(super) fn of(sample: &Sample, before: Option<Self>) -> Self {
        let Sample { now, waiting, running, ref workers } = *sample;
        let Some(mut before) = before else {
            let workers = workers.iter().map(|(name, counters)| ((*name).to_owned(), *counters)).collect();
            return Self { now, waiting, running, workers };
        };
        for ((_, before), (_, counters)) in before.workers.iter_mut().zip(workers) {
            *before = *counters;
        }
        Self { now, waiting, running, ..before }
    }
}

/// Written as a map from names to counters.
mod by_name {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::WorkerCounters;

    pub(super) fn serialize<S: Serializer>(
        workers: &[(String, WorkerCounters)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(workers.iter().map(|(name, counters)| (name, counters)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, WorkerCounters)>, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The worker of this name, where all names are asked for in their order; `same`: there are no others.
pub(super) fn find<'a>(
    workers: &mut Peekable<Iter<'a, (String, WorkerCounters)>>,
    name: &str,
    same: bool,
) -> Option<&'a WorkerCounters> {
    if same {
        return workers.next().map(|(_, worker)| worker);
    }
    while let Some((known, worker)) = workers.peek() {
        match known.as_str().cmp(name) {
            Ordering::Less => _ = workers.next(),
            Ordering::Equal => return Some(worker),
            Ordering::Greater => return None,
        }
    }
    None
}
