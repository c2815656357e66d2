//! Which claimed jobs may share a batch. A job that kills its worker takes an attempt from every job in flight with it, so
//! jobs whose worker died are suspects: they are kept apart, few at a time and finally alone.
//!
//! With this rule a job loses at most two attempts to a deadly neighbour (one if `maxAttempts` is 2), so that only the
//! deadly one ever reaches `maxAttempts`.

use std::sync::Arc;

use chrono::Utc;
use jobqueue_queue::Delivery;
use tokio::sync::Semaphore;

use super::batch::{Batch, BatchItem, Claimed, SuspectPermit};
use super::outcome::JobOutcome;
use crate::deps::Deps;

/// How many jobs that saw one crash may share a batch (RQ's `claim.lua` has the same number).
const AFTER_ONE_CRASH: usize = 16;

/// Keeps suspects apart.
pub(crate) struct Quarantine {
    deps: Arc<Deps>,
    permits: Arc<Semaphore>,
}

/// The batches of one claim.
pub(crate) struct Admitted {
    /// To be worked on, in this order; may be empty.
    pub(crate) batches: Vec<Batch>,
    /// Suspects that must wait: to be released at once. `None` if there are none.
    pub(crate) released: Option<Batch>,
}

impl Quarantine {
    pub(crate) fn new(deps: Arc<Deps>) -> Self {
        Self { deps, permits: Arc::new(Semaphore::new(1)) }
    }

    /// The right to work on suspects. Where they are `expected` it is waited for, else it is `None` while another batch
    /// has it.
    pub(crate) async fn permit(&self, expected: bool) -> Option<SuspectPermit> {
        let permits = Arc::clone(&self.permits);
        if expected {
            Some(permits.acquire_owned().await.expect("the semaphore is never closed"))
        } else {
            permits.try_acquire_owned().ok()
        }
    }

    /// Makes batches of a claim. From now on its jobs are in flight. `careful` becomes the size of the next claim, `None`
    /// for as many as usual.
    pub(crate) fn admit(&self, claimed: Claimed, careful: &mut Option<usize>) -> Admitted {
        let Claimed { deliveries, permit } = claimed;
        let max_attempts = self.deps.settings.max_attempts;
        let sorted = sort(deliveries, max_attempts, permit.is_some());
        *careful = sorted.next_claim(max_attempts);
        let batches = [self.batch(sorted.fresh, None), self.batch(sorted.suspects, permit)];
        Admitted { batches: batches.into_iter().flatten().collect(), released: self.batch(sorted.give_back, None) }
    }

    /// A batch of `items`; `None` if there are none.
    fn batch(&self, items: Vec<BatchItem>, permit: Option<SuspectPermit>) -> Option<Batch> {
        if items.is_empty() {
            return None;
        }
        let leases = self.deps.in_flight.hold(items.iter().map(|item| item.delivery.lease.clone()).collect());
        Some(Batch { items, started_at: Utc::now(), leases, permit })
    }
}

/// A claim, sorted. Order within each part is the order of the queue.
#[derive(Debug, Default)]
struct Sorted {
    /// No suspects: one batch.
    fresh: Vec<BatchItem>,
    /// Suspects that may share a batch; no others may be in flight.
    suspects: Vec<BatchItem>,
    /// Suspects that must wait.
    give_back: Vec<BatchItem>,
}

/// How many jobs that saw so many crashes (of `max_attempts` attempts) may be in flight together; `None`: any number.
const fn most_together(crashes: u32, max_attempts: u32) -> Option<usize> {
    match crashes {
        0 => None,
        1 if max_attempts > 2 => Some(AFTER_ONE_CRASH),
        _ => Some(1),
    }
}

/// Sorts a claim; `suspects_allowed` is false while others are in flight.
fn sort(deliveries: Vec<Delivery>, max_attempts: u32, suspects_allowed: bool) -> Sorted {
    let mut sorted = Sorted::default();
    sorted.fresh.reserve(deliveries.len());
    let mut room = usize::from(suspects_allowed).saturating_mul(AFTER_ONE_CRASH);
    for delivery in deliveries {
        let item = BatchItem { delivery, unit: None, outcome: JobOutcome::Released, span: None };
        match most_together(item.delivery.crashes, max_attempts) {
            None => sorted.fresh.push(item),
            Some(limit) if room > 0 && sorted.suspects.len() < limit => {
                room = room.min(limit) - 1;
                sorted.suspects.push(item);
            }
            Some(_) => {
                sorted.give_back.push(item);
                room = 0;
            }
        }
    }
    sorted
}

impl Sorted {
    /// How many to claim next while more suspects are expected at the head of the queue; `None`: as many as usual.
    fn next_claim(&self, max_attempts: u32) -> Option<usize> {
        let next = match (self.give_back.first(), self.suspects.last()) {
            (Some(waiting), _) => waiting,
            (None, Some(last)) if self.fresh.is_empty() => last,
            _ => return None,
        };
        most_together(next.delivery.crashes, max_attempts)
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_queue::{Lease, Payload};

    use super::*;

    /// One job for each number of crashes.
    fn deliveries(crashes: &[u32]) -> Vec<Delivery> {
        let one = |(number, crashes): (usize, &u32)| Delivery {
            queue: "q".into(),
            id: number.to_string(),
            created_at: String::new(),
            generation: 0,
            run: None,
            attempt: 1 + *crashes,
            crashes: *crashes,
            enqueued_at: None,
            timeout: None,
            trace_context: None,
            payload: Ok(Payload::Record("{}".into())),
            lease: Lease { queue: "q".into(), job: number.to_string(), execution: number.to_string() },
        };
        crashes.iter().enumerate().map(one).collect()
    }

    fn ids(part: &[BatchItem]) -> Vec<usize> {
        part.iter().map(|item| item.delivery.id.parse().unwrap()).collect()
    }

    #[test]
    fn jobs_without_a_crash_share_one_batch() {
        let sorted = sort(deliveries(&[0; 300]), 5, true);
        assert_eq!(sorted.fresh.len(), 300);
        assert!(sorted.suspects.is_empty() && sorted.give_back.is_empty());
        assert_eq!(sorted.next_claim(5), None);
    }

    #[test]
    fn suspects_go_in_small_company_and_then_alone() {
        let sorted = sort(deliveries(&[1, 0, 1, 2, 1]), 5, true);
        assert_eq!(ids(&sorted.fresh), [1]);
        assert_eq!(ids(&sorted.suspects), [0, 2]);
        assert_eq!(ids(&sorted.give_back), [3, 4]);
        assert_eq!(sorted.next_claim(5), Some(1));

        let sorted = sort(deliveries(&[2, 1, 1]), 5, true);
        assert_eq!(ids(&sorted.suspects), [0]);
        assert_eq!(ids(&sorted.give_back), [1, 2]);
        assert_eq!(sorted.next_claim(5), Some(AFTER_ONE_CRASH));

        assert_eq!(sort(deliveries(&[1; 20]), 5, true).suspects.len(), AFTER_ONE_CRASH);
    }

    #[test]
    fn the_last_attempt_is_always_alone() {
        let sorted = sort(deliveries(&[1, 1, 1]), 2, true);
        assert_eq!(ids(&sorted.suspects), [0]);
        assert_eq!(ids(&sorted.give_back), [1, 2]);
    }

    #[test]
    fn no_suspect_joins_others_in_flight() {
        let sorted = sort(deliveries(&[1, 0, 2]), 5, false);
        assert_eq!(ids(&sorted.fresh), [1]);
        assert!(sorted.suspects.is_empty());
        assert_eq!(ids(&sorted.give_back), [0, 2]);
    }

    #[test]
    fn small_claims_go_on_while_only_suspects_come() {
        assert_eq!(sort(deliveries(&[2]), 5, true).next_claim(5), Some(1));
        assert_eq!(sort(deliveries(&[1, 1]), 5, true).next_claim(5), Some(AFTER_ONE_CRASH));
        assert_eq!(sort(deliveries(&[1, 0]), 5, true).next_claim(5), None, "the suspects are at an end");
        assert_eq!(sort(deliveries(&[]), 5, true).next_claim(5), None);
    }

    /// Runs the rule against one job that kills its worker on each attempt, at the worst place, with neighbours that
    /// come back beside it: no other job may reach the limit.
    #[test]
    fn only_the_deadly_job_uses_up_its_attempts() {
        for max_attempts in 2..6 {
            let mut queue = vec![0_u32; 100];
            let deadly = 50;
            let mut done = vec![false; queue.len()];
            for _ in 0..1000 {
                let order: Vec<usize> = (0..queue.len()).filter(|job| !done[*job]).collect();
                let crashes: Vec<u32> = order.iter().map(|job| queue[*job]).collect();
                let sorted = sort(deliveries(&crashes), max_attempts, true);
                // The fresh batch is settled before the suspects begin.
                let part = if sorted.fresh.is_empty() { &sorted.suspects } else { &sorted.fresh };
                let jobs: Vec<usize> = ids(part).into_iter().map(|index| order[index]).collect();
                let dies = jobs.contains(&deadly);
                for job in jobs {
                    if !dies {
                        done[job] = true;
                    } else if queue[job] + 1 == max_attempts {
                        assert_eq!(job, deadly, "an innocent job was given up with maxAttempts {max_attempts}");
                        done[job] = true;
                    } else {
                        queue[job] += 1;
                    }
                }
                if done.iter().all(|done| *done) {
                    break;
                }
            }
            assert!(done.iter().all(|done| *done), "everything was settled");
        }
    }
}
