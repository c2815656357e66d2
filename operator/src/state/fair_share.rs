//! How many workers are remembered of each queue. Whoever writes into a queue's Redis makes up as many as they like.

/// So many workers of a queue are always remembered.
const FEW: u32 = 100;

/// So many are remembered of all queues with more than [`FEW`]: each takes half a kilobyte at most.
const REMEMBERED: u64 = 50_000;

/// How many workers are remembered of one queue, if its Redis tells of more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FairShare(u32);

impl FairShare {
    /// By what is `reported` of all queues: those that tell of the most are cut, and share equally what the others leave.
    pub(super) fn of_all(reported: impl Iterator<Item = u32>) -> Self {
        let mut many: Vec<u32> = reported.filter(|workers| *workers > FEW).collect();
        many.sort_unstable();
        let (mut left, mut queues) = (REMEMBERED, u64::try_from(many.len()).unwrap_or(u64::MAX));
        for workers in many {
            if u64::from(workers) * queues > left {
                return Self(u32::try_from(left / queues).unwrap_or(u32::MAX).max(FEW));
            }
            left -= u64::from(workers);
            queues -= 1;
        }
        Self(u32::MAX)
    }

    /// Of a queue that told of so many the last time, and is asked to have `wanted`. What one will tell of that was not polled
    /// yet, or told of few, is not part of the sum.
    pub(super) fn of(self, reported: u32, wanted: u32) -> usize {
        let share = if reported > FEW { self.0 } else { self.0.min(wanted.saturating_mul(2).saturating_add(FEW)) };
        usize::try_from(share).unwrap_or(usize::MAX)
    }
}

/// What is to be recorded of an answer that told of so many workers, when `before` is recorded; `None` for no news.
pub(crate) fn news_of_workers(before: u32, reported: usize) -> Option<u32> {
    let reported = u32::try_from(reported).unwrap_or(u32::MAX);
    // Few are not worth a lock at each poll.
    let reported = if reported > FEW { reported } else { 0 };
    (reported != before).then_some(reported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tells_of_the_most_workers_is_cut_first() {
        let share = |reported: &[(usize, u32)]| {
            FairShare::of_all(reported.iter().flat_map(|(queues, workers)| std::iter::repeat_n(*workers, *queues))).0
        };
        assert_eq!(share(&[(10_000, 100)]), u32::MAX, "few of many queues are no matter");
        assert_eq!(share(&[(10, 5_000)]), u32::MAX);
        assert_eq!(share(&[(11, 5_000)]), 4_545);
        assert_eq!(share(&[(1, 2_000), (60, 5_000)]), 819, "one with more than its share is cut too");
        assert_eq!(share(&[(1, 600), (60, 5_000)]), 823, "one with less has all of its own");
        assert_eq!(share(&[(10_000, 5_000)]), FEW);
    }

    #[test]
    fn a_queue_that_is_new_begins_with_a_few_or_with_as_many_as_it_is_to_have() {
        assert_eq!(FairShare(u32::MAX).of(0, 0), 100);
        assert_eq!(FairShare(u32::MAX).of(0, 1_000), 2_100);
        assert_eq!(FairShare(300).of(0, 1_000), 300);
        assert_eq!(FairShare(300).of(5_000, 0), 300);
    }

    #[test]
    fn few_workers_are_no_news() {
        assert_eq!([0, 7, 100].map(|reported| news_of_workers(0, reported)), [None; 3]);
        assert_eq!([news_of_workers(0, 500), news_of_workers(500, 500)], [Some(500), None]);
        assert_eq!(news_of_workers(500, 7), Some(0));
    }
}
