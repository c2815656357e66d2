//! What is seen of a queue and its workers.

use serde::{Deserialize, Serialize};

use crate::LifeTable;

/// One poll of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When, in seconds since any fixed moment.
    pub now: f64,
    /// The backlog; none: the queue cannot be read.
    pub backlog: Option<Backlog>,
    /// The workers.
    pub workers: Workers,
    /// Measured rates.
    pub rates: Rates,
    /// Workers that say that their database takes nothing from them.
    #[serde(default)]
    pub troubled: u32,
}

/// The work that there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// Jobs that wait, including scheduled ones that are due: nobody but a worker moves those.
    pub waiting: u64,
    /// Jobs that run: a claimed job is in no list any more, and is still work.
    pub running: u64,
    /// How long the oldest waiting job has waited, in seconds.
    pub oldest_wait_seconds: Option<f64>,
}

impl Backlog {
    /// Waiting and running.
    pub fn jobs(&self) -> u64 {
        self.waiting.saturating_add(self.running)
    }
}

/// The workers that there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workers {
    /// As many as were asked for.
    pub desired: u32,
    /// Those that serve the queue, or could.
    pub ready: u32,
    /// Those of them that have jobs in hand.
    pub busy: u32,
}

impl Workers {
    /// Workers that are there. One with a job in hand counts, even if Kubernetes reports it as ready only seconds later. There
    /// are no more than were asked for: others drain.
    pub(crate) fn there(self) -> u32 {
        self.ready.max(self.busy).min(self.desired)
    }
}

/// Measured rates; see [`crate::Meter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// What one busy worker does.
    pub per_worker: Option<WorkerRate>,
    /// Jobs that arrive, per second.
    pub arrivals_per_second: Option<f64>,
    /// Jobs that end, per second, all workers together.
    pub completions_per_second: Option<f64>,
    /// Jobs that ended since the poll before: work that no poll may have seen waiting or running.
    pub ended: u64,
    /// How many workers were at work on average since the poll before, by their own accounts of what has ended; none where
    /// they do not say.
    #[serde(default)]
    pub occupied: Option<f64>,
    /// Jobs that a worker does at once; 0 where it is not known, which counts as one.
    #[serde(default)]
    pub slots: u32,
    /// How unlike each other jobs are; none while too few have ended, and where nobody says how long they took.
    #[serde(default)]
    pub job_variation: Option<JobVariation>,
    /// For how long the busy workers have been at what they do now.
    #[serde(default)]
    pub ages: Ages,
    /// What single jobs did since the poll before; empty where nobody says how long they took, and while nothing waits.
    #[serde(default, skip_serializing_if = "LifeTable::is_empty")]
    pub lives: LifeTable,
}

impl Rates {
    /// Jobs per second of one busy worker, if any are known.
    pub(crate) fn of_a_worker(&self) -> Option<f64> {
        self.per_worker.map(|rate| rate.jobs_per_second).filter(|rate| *rate > 0.0)
    }
}

/// For how long busy workers have been at the job that they have in hand, in a few groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ages {
    groups: [(f32, u32); 4],
}

impl Ages {
    /// Groups these ages, in seconds.
    pub fn of(ages: impl Iterator<Item = f64>) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "seconds")]
        let ages = ages.map(|age| age.max(0.0) as f32 + 0.0);
        // Numbers that are not negative are in the order of their bits, which are cheaper to compare.
        let mut sorted: Vec<u32> = Vec::with_capacity(ages.size_hint().1.unwrap_or_default());
        sorted.extend(ages.map(f32::to_bits));
        sorted.sort_unstable();
        let mut groups = [(0.0, 0); 4];
        let size = sorted.len().div_ceil(groups.len()).max(1);
        for (group, ages) in groups.iter_mut().zip(sorted.chunks(size)) {
            let workers = u32::try_from(ages.len()).unwrap_or(u32::MAX);
            *group = (ages.iter().map(|bits| f32::from_bits(*bits)).sum::<f32>() / workers as f32, workers);
        }
        Self { groups }
    }

    /// Each group: its mean age in seconds, and how many workers it has.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (f64, u32)> {
        self.groups.iter().filter(|(_, workers)| *workers > 0).map(|(age, workers)| (f64::from(*age), *workers))
    }
}

/// How unlike each other jobs are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JobVariation {
    /// The variance of the time that a job takes, by the square of its mean.
    pub squared: f64,
    /// How many samples that rests on.
    pub samples: f64,
}

/// What one busy worker does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorkerRate {
    /// Jobs per second.
    pub jobs_per_second: f64,
    /// How many completions that rests on. The relative error is about one over its square root. Less than one: no job has
    /// ended yet, and a worker does no more than this.
    pub completions: f64,
}

/// When a backlog of `jobs` will be cleared, in seconds, with so many completions and arrivals per second; none where
/// it grows.
pub fn eta_seconds(jobs: u64, completions_per_second: f64, arrivals_per_second: f64) -> Option<f64> {
    let net = completions_per_second - arrivals_per_second;
    if jobs == 0 { Some(0.0) } else { (net > 0.0).then(|| jobs as f64 / net) }
}
