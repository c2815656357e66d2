//! The arrival curve: when the jobs that wait came, as far as the polls tell.

use serde::{Deserialize, Serialize};

use crate::Backlog;

/// So many groups of jobs are told apart; of more, the two that came closest to each other become one.
const MOST_GROUPS: usize = 32;
/// A backlog that is seen for the first time came evenly since its oldest job did: in so many groups.
const FIRST_GROUPS: u64 = 8;

/// When what waits came. Jobs are taken in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Arrivals {
    /// When the last poll was, and how many jobs there were; none before the first, and after one that failed.
    last: Option<(f64, u64)>,
    /// All that came so far.
    came: u64,
    /// Groups of jobs of which some wait: when the first of each came, and how many had come with the last.
    groups: Vec<(f64, u64)>,
}

/// The jobs that wait, in groups, the oldest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting<'a> {
    /// When the first of each group came, and how many had come with its last, those that are gone included.
    groups: &'a [(f64, u64)],
    /// How many are gone.
    taken: u64,
}

impl<'a> Waiting<'a> {
    /// The jobs of these groups, of which so many are gone.
    pub(crate) fn new(groups: &'a [(f64, u64)], taken: u64) -> Self {
        Self { groups, taken }
    }

    /// The group at this place.
    pub(crate) fn get(&self, place: usize) -> Option<Group> {
        self.groups.get(place).map(|group| self.of(*group))
    }

    /// The last group, if any job waits.
    pub(crate) fn last(&self) -> Option<Group> {
        self.groups.last().map(|group| self.of(*group))
    }

    /// The first place, no sooner than `from`, of a group of which `before` does not hold. It holds of the groups up to some
    /// place, and of none after it.
    pub(crate) fn first_not(&self, from: usize, before: impl Fn(Group) -> bool) -> usize {
        // It is seldom far, and twice as far each time.
        let (mut from, mut step) = (from, 1);
        while let Some(group) = self.get(from + step - 1) {
            if !before(group) {
                break;
            }
            (from, step) = (from + step, 2 * step);
        }
        let end = self.groups.len().min(from + step - 1);
        let rest = self.groups.get(from..end).unwrap_or_default();
        from + rest.partition_point(|group| before(self.of(*group)))
    }

    fn of(&self, (came, up_to): (f64, u64)) -> Group {
        Group { came, up_to: up_to.saturating_sub(self.taken) }
    }
}

/// Jobs that came together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Group {
    /// When the first of them came.
    pub(crate) came: f64,
    /// How many wait that came no later than its last, these included.
    pub(crate) up_to: u64,
}

impl Arrivals {
    /// Takes in a poll; `ended`: jobs that ended since the one before.
    pub(crate) fn observe(&mut self, clock: f64, backlog: Backlog, ended: u64) {
        let (jobs, waiting) = (backlog.jobs(), backlog.waiting);
        if let Some((since, before)) = self.last.replace((clock, jobs)) {
            let grown = jobs.saturating_add(ended).saturating_sub(before);
            if grown > 0 {
                self.came = self.came.saturating_add(grown);
                // They may have come right after the poll before.
                self.groups.push((since, self.came));
            }
        } else {
            self.begin(clock, backlog);
        }
        // Jobs that went back to the queue did not come anew; they are at its head.
        self.came = self.came.max(waiting);
        let taken = self.came - waiting;
        let gone = self.groups.iter().take_while(|(_, up_to)| *up_to <= taken).count();
        self.groups.drain(..gone);
        if waiting > 0 && self.groups.last().is_none_or(|(_, up_to)| *up_to < self.came) {
            self.groups.push((clock, self.came));
        }
        if waiting == 0 && self.groups.capacity() > 0 {
            // Most queues are empty most of the time: nothing is kept for those.
            self.groups = Vec::new();
        }
        if self.groups.len() > MOST_GROUPS {
            self.merge();
        }
    }

    /// The queue could not be read.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// All jobs that came so far.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// The jobs that wait, the oldest first.
    pub(crate) fn waiting(&self, waiting: u64) -> Waiting<'_> {
        Waiting::new(&self.groups, self.came.saturating_sub(waiting))
    }

    fn begin(&mut self, clock: f64, backlog: Backlog) {
        let Backlog { waiting, .. } = backlog;
        self.came = waiting;
        self.groups.clear();
        let oldest = backlog.oldest_wait_seconds.filter(|wait| wait.is_finite() && *wait > 0.0).unwrap_or(0.0);
        let groups = if oldest > 0.0 { waiting.min(FIRST_GROUPS) } else { waiting.min(1) };
        for group in 1..=groups {
            let part = (group - 1) as f64 / groups as f64;
            let up_to = if group == groups { waiting } else { waiting / groups * group };
            self.groups.push((clock - oldest * (1.0 - part), up_to));
        }
    }

    /// Makes one of the two groups that are closest to each other in time. Its jobs count as having come with its first.
    fn merge(&mut self) {
        let (mut closest, mut least, mut before) = (None, f64::INFINITY, f64::NEG_INFINITY);
        for (index, (came, _)) in self.groups.iter().enumerate() {
            if came - before < least {
                (closest, least) = (Some(index), came - before);
            }
            before = *came;
        }
        if let Some(index) = closest {
            let (_, up_to) = self.groups.remove(index);
            self.groups[index - 1].1 = up_to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(waiting: u64, running: u64) -> Backlog {
        Backlog { waiting, running, oldest_wait_seconds: None }
    }

    fn groups(arrivals: &Arrivals, waiting: u64) -> Vec<(f64, u64)> {
        let waiting = arrivals.waiting(waiting);
        let groups = (0..).map_while(|place| waiting.get(place));
        groups.map(|group| (group.came, group.up_to)).collect()
    }

    #[test]
    fn jobs_are_taken_in_the_order_in_which_they_came() {
        let mut arrivals = Arrivals::default();
        arrivals.observe(0.0, backlog(0, 0), 0);
        arrivals.observe(1.0, backlog(5, 0), 0);
        arrivals.observe(2.0, backlog(6, 2), 0);
        assert_eq!(groups(&arrivals, 6), [(0.0, 3), (1.0, 6)]);
        // Two ended, three were taken, four came.
        arrivals.observe(3.0, backlog(7, 3), 2);
        assert_eq!(groups(&arrivals, 7), [(1.0, 3), (2.0, 7)]);
        arrivals.observe(4.0, backlog(0, 10), 0);
        assert_eq!(groups(&arrivals, 0), []);
    }

    #[test]
    fn a_backlog_seen_first_came_since_its_oldest_did() {
        let mut arrivals = Arrivals::default();
        arrivals.observe(100.0, Backlog { oldest_wait_seconds: Some(16.0), ..backlog(80, 0) }, 0);
        let seen = groups(&arrivals, 80);
        assert_eq!((seen[0], seen[7]), ((84.0, 10), (98.0, 80)));
        arrivals.forget();
        arrivals.observe(101.0, backlog(3, 0), 50);
        assert_eq!(groups(&arrivals, 3), [(101.0, 3)]);
    }

    #[test]
    fn jobs_that_go_back_are_no_new_ones() {
        let mut arrivals = Arrivals::default();
        arrivals.observe(0.0, backlog(2, 4), 0);
        arrivals.observe(1.0, backlog(0, 6), 0);
        arrivals.observe(2.0, backlog(3, 3), 0);
        assert_eq!(groups(&arrivals, 3), [(2.0, 3)]);
        // Whatever the numbers say, all that wait are in it.
        arrivals.observe(3.0, backlog(50, 0), 0);
        assert_eq!(groups(&arrivals, 50).last(), Some(&(3.0, 50)));
    }

    #[test]
    fn a_long_backlog_takes_little_room_and_loses_no_job() {
        let mut arrivals = Arrivals::default();
        for poll in 0..10_000_u32 {
            arrivals.observe(f64::from(poll) / 4.0, backlog(u64::from(poll) * 3, 0), 0);
        }
        let seen = groups(&arrivals, 29_997);
        assert!(seen.len() <= MOST_GROUPS, "{}", seen.len());
        assert_eq!(seen.last().map(|(_, up_to)| *up_to), Some(29_997));
        let widest = seen.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max);
        assert!(seen.is_sorted_by(|a, b| a < b) && widest <= 2.0 * 2_500.0 / 32.0, "{widest}");
    }
}
