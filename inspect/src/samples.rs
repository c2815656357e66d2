//! The last hour of the queues that somebody opened, in a ring for each, and bounded in number.

use std::collections::{HashMap, VecDeque};

use crate::source::{Numbers, QueueKey};

/// Seconds between two samples at least.
const SPACING: i64 = 5;
/// Seconds that are kept.
pub(crate) const KEPT: i64 = 3_600;
/// Queues that are watched at most; of more, the ones that were opened last.
const MOST_QUEUES: usize = 200;

/// The numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since 1970.
    pub at: i64,
    /// One value for each [`Series`]; not a number where it is not known.
    pub values: [f32; 7],
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Jobs that wait or run.
    Backlog,
    /// The wait of the oldest, in seconds.
    OldestWait,
    /// Jobs that arrive in a second.
    Arrivals,
    /// Jobs that end in a second.
    Completions,
    /// Workers.
    Workers,
    /// Failed jobs.
    Failed,
    /// 1 where the database was in trouble.
    DatabaseTrouble,
}

impl Sample {
    #[expect(clippy::cast_possible_truncation, reason = "a chart is a few hundred points wide")]
    /// The numbers of this moment.
    pub fn new(at: i64, numbers: &Numbers) -> Self {
        let known = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
        let backlog = numbers.waiting.saturating_add(numbers.running) as f32;
        let trouble = if numbers.database_trouble { 1.0 } else { 0.0 };
        Self {
            at,
            values: [
                backlog,
                numbers.oldest_wait.map_or(0.0, |wait| wait as f32),
                known(numbers.arrivals),
                known(numbers.completions),
                numbers.workers as f32,
                numbers.failed as f32,
                trouble,
            ],
        }
    }

    /// The value of a series, if it is known.
    pub fn value(&self, series: Series) -> Option<f32> {
        Some(self.values[series as usize]).filter(|value| value.is_finite())
    }
}

/// The rings.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    rings: HashMap<QueueKey, Ring>,
    opened: u64,
}

#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Sample>,
    opened: u64,
}

impl Samples {
    /// Somebody opened this queue: it is watched from now on.
    pub(crate) fn open(&mut self, key: &QueueKey) {
        self.opened += 1;
        if !self.rings.contains_key(key) && self.rings.len() >= MOST_QUEUES {
            let oldest = self.rings.iter().min_by_key(|(_, ring)| ring.opened).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.rings.remove(&key));
        }
        self.rings.entry(key.clone()).or_default().opened = self.opened;
    }

    /// Watches a queue that nobody opened yet, while there is room.
    pub(crate) fn open_if_free(&mut self, key: &QueueKey) {
        if self.rings.len() < MOST_QUEUES {
            self.rings.entry(key.clone()).or_default();
        }
    }

    /// Adds the numbers of a moment, if the queue is watched and the last ones are not of the same. Returns whether it did.
    pub(crate) fn add(&mut self, key: &QueueKey, at: i64, numbers: &Numbers) -> bool {
        let Some(ring) = self.rings.get_mut(key) else { return false };
        if ring.samples.back().is_some_and(|last| at < last.at + SPACING) {
            return false;
        }
        while ring.samples.front().is_some_and(|first| first.at < at - KEPT) {
            ring.samples.pop_front();
        }
        ring.samples.push_back(Sample::new(at, numbers));
        true
    }

    /// The samples of a queue, the oldest first.
    pub(crate) fn of(&self, key: &QueueKey) -> Vec<Sample> {
        self.rings.get(key).map(|ring| ring.samples.iter().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> QueueKey {
        QueueKey { namespace: "n".into(), name: name.into() }
    }

    #[test]
    fn an_hour_is_kept_of_the_queues_that_were_opened() {
        let mut samples = Samples::default();
        let numbers = Numbers { waiting: 2, running: 1, ..Numbers::default() };
        samples.add(&key("q"), 0, &numbers);
        assert!(samples.of(&key("q")).is_empty(), "nobody opened it");
        samples.open(&key("q"));
        for second in 0..2 * KEPT {
            samples.add(&key("q"), second, &numbers);
        }
        let kept = samples.of(&key("q"));
        assert_eq!(kept.len(), 721);
        assert_eq!((kept[0].value(Series::Backlog), kept[0].value(Series::Arrivals)), (Some(3.0), None));
    }

    #[test]
    fn of_too_many_queues_the_one_opened_longest_ago_goes() {
        let mut samples = Samples::default();
        for index in 0..MOST_QUEUES {
            samples.open(&key(&index.to_string()));
        }
        samples.open(&key("0"));
        samples.open(&key("new"));
        samples.open_if_free(&key("no room"));
        let numbers = Numbers::default();
        for name in ["0", "1", "new", "no room"] {
            samples.add(&key(name), 0, &numbers);
        }
        let kept = ["0", "1", "new", "no room"].map(|name| samples.of(&key(name)).len());
        assert_eq!(kept, [1, 0, 1, 0]);
    }
}
