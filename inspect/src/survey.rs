//! The failed jobs of a queue by their cause. A registry may have a million: the newest are counted first, in the
//! background, up to a bound, and what was counted so far is shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_queue::QueueError;
use jobqueue_queue::admin::error_groups::{cause, normalised};
use jobqueue_queue::admin::{FailedJobs, Failure};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::source::{Backlog, Problem, QueueKey, Registry};
use crate::text;

/// Jobs counted at most, the newest of each registry.
const MOST_JOBS: usize = 100_000;
/// Bytes of their ids at most.
const MOST_BYTES: usize = 16 << 20;
/// Causes that are told apart at most; the jobs of others count as one.
const MOST_CAUSES: usize = 1_000;
/// Queues whose causes are in memory.
const MOST_QUEUES: usize = 4;
/// Jobs read at a time.
const PAGE: usize = 500;
/// A page waits so long for jobs to be counted, at most, and for so many.
const PATIENCE: Duration = Duration::from_millis(500);
const ENOUGH: usize = 10_000;
/// The same queue is counted again after so long, and after so many times what it took.
const PAUSE: Duration = Duration::from_secs(3);
const SHARE: u32 = 10;
/// Parts of the last hour in a trend.
pub const PARTS: usize = 12;

/// A job, by the number of its registry.
pub type JobId = (usize, String);

/// The jobs that failed for one cause.
#[derive(Debug, Clone)]
pub struct Group {
    /// Short and safe in a URL.
    pub digest: String,
    /// The cause of the newest, as it was written.
    pub example: String,
    /// Whether all read as `example` does.
    pub alike: bool,
    /// When the newest failed.
    pub newest: Option<DateTime<Utc>>,
    /// The function of the newest, where jobs have one.
    pub function: Option<String>,
    /// Jobs that failed in each twelfth of the last hour, the latest last.
    pub trend: [u64; PARTS],
    /// The newest first.
    pub ids: Vec<JobId>,
}

impl Group {
    /// The cause in words.
    pub fn cause(&self) -> String {
        let text = if self.example.is_empty() { "(no error is kept)" } else { &self.example };
        let shown = text::line(text, 300);
        if self.alike { shown } else { format!("such as: {shown}") }
    }

    /// Whether the cause or the function has this in it, in any case.
    pub fn matches(&self, query: &str) -> bool {
        let query = query.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&query);
        query.is_empty() || has(&self.example) || self.function.as_deref().is_some_and(has)
    }

    /// `count` of its jobs after `skip`, each with the name of its queue; those that are gone are left out.
    pub async fn failures(
        &self,
        registries: &[Registry],
        skip: usize,
        count: usize,
    ) -> Result<Vec<(String, Failure)>, QueueError> {
        let mut jobs = Vec::new();
        for (registry, id) in self.ids.iter().skip(skip).take(count) {
            let Some((queue, failed)) = registries.get(*registry) else { continue };
            let mut failures = failed.failures(std::slice::from_ref(id)).await?;
            jobs.extend(failures.pop().map(|failure| (queue.clone(), failure)));
        }
        Ok(jobs)
    }
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Jobs in the registries.
    pub total: u64,
    /// Of these, the newest that were counted.
    pub counted: u64,
    /// Whether no more will be.
    pub finished: bool,
    /// Why they could not be counted.
    pub problem: Option<String>,
    groups: HashMap<String, Group>,
    bytes: usize,
}

impl Survey {
    /// Whether there are older jobs that are not counted: of each cause there are as many as were counted, or more.
    pub fn is_partial(&self) -> bool {
        self.counted < self.total
    }

    /// The most frequent first, of these the latest.
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by(|one, other| {
            let frequency = other.ids.len().cmp(&one.ids.len());
            frequency.then_with(|| other.newest.cmp(&one.newest)).then_with(|| one.digest.cmp(&other.digest))
        });
        groups
    }

    /// The jobs of this cause.
    pub fn group(&self, digest: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.digest == digest)
    }

    /// How many jobs of how many causes there are, or how many were counted so far.
    pub fn sentence(&self) -> String {
        if self.total == 0 && self.finished {
            return "No job has failed.".to_owned();
        }
        if self.total == 0 {
            return "Failed jobs are being counted.".to_owned();
        }
        if self.counted >= self.total && self.finished {
            let causes = self.groups.len();
            let word = if causes == 1 { "cause" } else { "causes" };
            return format!("{} of {} {word}.", text::jobs(self.total), text::count(causes as u64));
        }
        let goes_on = if self.finished {
            " Older ones are not counted: of each cause there may be more, and there may be other causes."
        } else {
            " Counting goes on."
        };
        format!("Causes of the newest {} of {}.{goes_on}", text::count(self.counted), text::jobs(self.total))
    }

    /// Counts a job of the registry with this number.
    pub fn add(&mut self, registry: usize, failure: Failure, now: DateTime<Utc>) {
        self.counted += 1;
        self.bytes += failure.id.len() + 48;
        let reason = cause(&failure.error);
        let mut pattern: String = normalised(&failure.error).chars().take(500).collect();
        if self.groups.len() >= MOST_CAUSES && !self.groups.contains_key(&pattern) {
            "(other causes)".clone_into(&mut pattern);
        }
        let group = self.groups.entry(pattern).or_insert_with_key(|pattern| Group {
            digest: digest(pattern),
            example: reason.chars().take(1_000).collect(),
            alike: true,
            newest: None,
            function: failure.function.map(|name| name.chars().take(200).collect()),
            trend: [0; PARTS],
            ids: Vec::new(),
        });
        group.alike &= reason.chars().take(1_000).eq(group.example.chars());
        group.newest = group.newest.max(failure.failed_at);
        let minutes = failure.failed_at.and_then(|at| usize::try_from((now - at).num_minutes()).ok());
        if let Some(part) = minutes.and_then(|minutes| (PARTS - 1).checked_sub(minutes * PARTS / 60)) {
            group.trend[part] += 1;
        }
        group.ids.push((registry, failure.id));
    }
}

fn digest(pattern: &str) -> String {
    let whole = Sha256::digest(pattern);
    let head: [u8; 8] = std::array::from_fn(|index| whole[index]);
    format!("{:016x}", u64::from_be_bytes(head))
}

/// The surveys of the queues that were opened last.
#[derive(Clone)]
pub struct Surveys {
    entries: Arc<Mutex<Vec<Entry>>>,
    changed: watch::Sender<u64>,
}

struct Entry {
    key: QueueKey,
    shown: Arc<Survey>,
    /// Whether it is being counted; and when the next count may begin.
    running: bool,
    next: Instant,
}

impl Surveys {
    /// `changed` is told of what is new.
    pub fn new(changed: watch::Sender<u64>) -> Self {
        Self { entries: Arc::default(), changed }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known; counts where that is old. Waits a moment for the first count.
    pub async fn of(&self, key: &QueueKey, backlog: &Backlog) -> Result<Arc<Survey>, Problem> {
        let registries: Vec<FailedJobs> = backlog.registries()?.into_iter().map(|(_, jobs)| jobs).collect();
        if self.begins(key) {
            let (surveys, key) = (self.clone(), key.clone());
            tokio::spawn(async move { surveys.count(&key, &registries).await });
        }
        let began = Instant::now();
        loop {
            let survey = self.known(key);
            let enough = survey.finished || survey.problem.is_some() || survey.counted >= ENOUGH as u64;
            if enough || began.elapsed() > PATIENCE {
                return Ok(survey);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What is known, without a new count.
    pub fn known(&self, key: &QueueKey) -> Arc<Survey> {
        self.entries().iter().find(|entry| entry.key == *key).map(|entry| Arc::clone(&entry.shown)).unwrap_or_default()
    }

    /// After a change: the next page counts again.
    pub fn expire(&self, key: &QueueKey) {
        for entry in self.entries().iter_mut().filter(|entry| entry.key == *key) {
            entry.next = Instant::now();
        }
    }

    /// Whether a count is due; it counts as running then. The queue is the one opened last.
    fn begins(&self, key: &QueueKey) -> bool {
        let mut entries = self.entries();
        let mut entry = match entries.iter().position(|entry| entry.key == *key) {
            Some(index) => entries.remove(index),
            None => Entry { key: key.clone(), shown: Arc::default(), running: false, next: Instant::now() },
        };
        let begins = !entry.running && Instant::now() >= entry.next;
        entry.running |= begins;
        entries.push(entry);
        if entries.len() > MOST_QUEUES {
            entries.remove(0);
        }
        begins
    }

    async fn count(&self, key: &QueueKey, registries: &[FailedJobs]) {
        let began = Instant::now();
        // A first count is shown as it grows; a later one when it is whole.
        let first = self.known(key).counted == 0;
        let mut survey = Survey::default();
        if let Err(error) = self.read(key, registries, &mut survey, first).await {
            survey.problem = Some(error.to_string());
        }
        survey.finished = true;
        let pause = PAUSE.max(began.elapsed() * SHARE);
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.key == *key) {
            entry.shown = Arc::new(survey);
            entry.running = false;
            entry.next = Instant::now() + pause;
        }
        self.changed.send_modify(|number| *number += 1);
    }

    async fn read(
        &self,
        key: &QueueKey,
        registries: &[FailedJobs],
        survey: &mut Survey,
        show: bool,
    ) -> Result<(), Problem> {
        for jobs in registries {
            survey.total += jobs.count().await?;
        }
        let now = Utc::now();
        let mut next_shown = ENOUGH as u64;
        for (index, jobs) in registries.iter().enumerate() {
            let most = MOST_JOBS / registries.len();
            let mut read = 0;
            while read < most && survey.bytes < MOST_BYTES {
                let ids = jobs.newest(read, PAGE).await?;
                let page = ids.len();
                for failure in jobs.failures(&ids).await? {
                    survey.add(index, failure, now);
                }
                read += page;
                if show && survey.counted >= next_shown {
                    self.show(key, survey.clone());
                    next_shown *= 2;
                }
                if page < PAGE {
                    break;
                }
            }
        }
        Ok(())
    }

    fn show(&self, key: &QueueKey, survey: Survey) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.key == *key) {
            entry.shown = Arc::new(survey);
        }
        self.changed.send_modify(|number| *number += 1);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn failure(id: &str, error: &str, failed_at: Option<DateTime<Utc>>) -> Failure {
        Failure { id: id.into(), error: error.into(), failed_at, function: None }
    }

    #[test]
    fn causes_are_told_apart_with_their_trend() {
        let now = Utc::now();
        let mut survey = Survey::default();
        for (id, error, minutes) in [("a", "n is 1", 0), ("b", "n is 2", 7), ("c", "no name", 59), ("d", "n is 3", 61)]
        {
            survey.add(0, failure(id, error, Some(now - TimeDelta::minutes(minutes))), now);
        }
        survey.add(1, failure("e", "no name", None), now);
        let groups = survey.groups();
        assert_eq!(groups.iter().map(|group| group.ids.len()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!((groups[0].trend[11], groups[0].trend[10], groups[0].trend[0]), (1, 1, 0));
        assert_eq!((groups[1].trend[0], groups[1].alike, groups[0].alike), (1, true, false));
        assert_eq!(survey.group(&groups[1].digest).map(|group| group.ids[1].clone()), Some((1, "e".to_owned())));
    }

    #[test]
    fn of_causes_that_are_as_frequent_the_latest_comes_first_and_some_are_found() {
        let now = Utc::now();
        let mut survey = Survey::default();
        for (id, error, minutes) in [("a", "no Name", 9), ("b", "no date", 1), ("c", "no price", 5)] {
            survey.add(0, failure(id, error, Some(now - TimeDelta::minutes(minutes))), now);
        }
        let causes = survey.groups().iter().map(|group| group.example.as_str()).collect::<Vec<_>>();
        assert_eq!(causes, ["no date", "no price", "no Name"]);
        let found = |query: &str| survey.groups().iter().filter(|group| group.matches(query)).count();
        assert_eq!((found(""), found(" NAME "), found("no "), found("zip")), (3, 1, 3, 0));
    }

    #[test]
    fn before_the_first_count_nothing_is_said_of_numbers() {
        assert_eq!(Survey::default().sentence(), "Failed jobs are being counted.");
        assert_eq!(Survey { finished: true, ..Survey::default() }.sentence(), "No job has failed.");
    }

    #[test]
    fn causes_without_end_are_one_at_last() {
        let mut survey = Survey::default();
        for index in 0..MOST_CAUSES + 50 {
            let letters: String = index.to_string().chars().map(|digit| (b'g' + digit as u8 - b'0') as char).collect();
            survey.add(0, failure("id", &letters, None), Utc::now());
        }
        assert_eq!(survey.groups.len(), MOST_CAUSES + 1);
        assert_eq!(survey.groups()[0].ids.len(), 50);
    }
}
