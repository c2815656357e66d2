//! The suite that every backend passes, against a real Redis: what a worker may rely on whatever the producers speak.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

mod claiming;
mod fixture;
mod leases;
mod rights;
mod settling;
mod waiting;

use claiming::{
    a_job_carries_what_the_worker_needs, earlier_queues_are_served_first, jobs_come_in_order_and_in_batches,
    leaving_and_returning, one_broken_queue_does_not_stop_the_others, queues_are_served_in_turn_or_at_random,
    workers_never_share_a_job,
};
use fixture::Fixture;
use jobqueue_queue::Protocol;
use leases::{
    a_job_that_kills_workers_is_abandoned, a_lapsed_lease_is_reclaimed_in_order, a_lost_job_cannot_be_settled_or_kept,
    a_server_that_lost_its_data_is_served_again, heartbeats_keep_a_job,
};
use rights::{
    a_clock_that_is_set_back_holds_no_lease, a_full_redis_takes_nothing_and_loses_no_lease,
    a_key_of_another_type_takes_nothing, a_missing_right_takes_nothing,
    a_right_that_goes_while_jobs_are_in_hand_loses_none, the_generated_account_is_enough,
};
use settling::{
    a_failure_is_retried_until_attempts_run_out, a_hopeless_failure_is_final, a_person_stops_a_job_that_runs,
    a_stopped_job_does_not_come_back, failed_jobs_are_listed_requeued_and_purged, finished_jobs_are_gone,
    released_jobs_are_next_and_not_counted, retries_wait_for_their_time, settling_twice_changes_nothing,
};
use waiting::{many_queues_take_few_connections, waiting_ends_when_a_job_arrives, waiting_takes_nothing};

/// A test per case and protocol.
macro_rules! conformance {
    ($($case:ident)*) => {
        conformance!(@on rq, Fixture::new(Protocol::Rq), $($case)*);
        conformance!(@on list, Fixture::new(Protocol::List), $($case)*);
        conformance!(@on stream, Fixture::new(Protocol::Stream), $($case)*);
    };
    (@on $name:ident, $fixture:expr, $($case:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($fixture).await;
                }
            )*
        }
    };
}

/// The cases that touch every script, in a cluster (which takes two seconds to be ready).
macro_rules! conformance_in_a_cluster {
    ($($case:ident)*) => {
        conformance!(@on rq_in_a_cluster, Fixture::cluster(Protocol::Rq).await, $($case)*);
        conformance!(@on list_in_a_cluster, Fixture::cluster(Protocol::List).await, $($case)*);
        conformance!(@on stream_in_a_cluster, Fixture::cluster(Protocol::Stream).await, $($case)*);
    };
}

conformance! {
    jobs_come_in_order_and_in_batches
    earlier_queues_are_served_first
    queues_are_served_in_turn_or_at_random
    a_job_carries_what_the_worker_needs
    finished_jobs_are_gone
    settling_twice_changes_nothing
    released_jobs_are_next_and_not_counted
    a_failure_is_retried_until_attempts_run_out
    a_hopeless_failure_is_final
    retries_wait_for_their_time
    a_stopped_job_does_not_come_back
    a_person_stops_a_job_that_runs
    heartbeats_keep_a_job
    a_lapsed_lease_is_reclaimed_in_order
    a_lost_job_cannot_be_settled_or_kept
    a_job_that_kills_workers_is_abandoned
    workers_never_share_a_job
    waiting_ends_when_a_job_arrives
    waiting_takes_nothing
    many_queues_take_few_connections
    one_broken_queue_does_not_stop_the_others
    leaving_and_returning
    failed_jobs_are_listed_requeued_and_purged
    the_generated_account_is_enough
    a_missing_right_takes_nothing
    a_right_that_goes_while_jobs_are_in_hand_loses_none
    a_key_of_another_type_takes_nothing
    a_full_redis_takes_nothing_and_loses_no_lease
    a_clock_that_is_set_back_holds_no_lease
    a_server_that_lost_its_data_is_served_again
}

conformance_in_a_cluster! {
    earlier_queues_are_served_first
    a_failure_is_retried_until_attempts_run_out
    a_lost_job_cannot_be_settled_or_kept
    a_person_stops_a_job_that_runs
    one_broken_queue_does_not_stop_the_others
    many_queues_take_few_connections
    leaving_and_returning
    failed_jobs_are_listed_requeued_and_purged
}
