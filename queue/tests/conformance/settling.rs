//! What becomes of a job with each outcome.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_queue::admin::Requeued;
use jobqueue_queue::{Asked, Command, Outcome, PayloadLimits, Protocol, Retry, Settled, Standing};

use crate::fixture::{Fixture, failed, finished, record};

pub(crate) async fn finished_jobs_are_gone(fixture: Fixture) {
    let worker = fixture.hasty_worker("w").await;
    fixture.produce("q", &["1", "2"]).await;
    let claimed = worker.claim(10).await;
    assert_eq!(worker.settle_all(&claimed, &finished()).await, [Settled::Finished; 2]);
    // A third job's lease lapses after theirs would have.
    fixture.produce("q", &["3"]).await;
    worker.claim_one().await;
    let total = worker.maintain_until(|total| total.reclaimed > 0).await;
    assert_eq!((total.reclaimed, total.abandoned, total.due), (1, 0, 0));
    assert_eq!(worker.records(10).await, ["3"]);
}

pub(crate) async fn settling_twice_changes_nothing(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, finished()).await, Settled::Finished);
    for outcome in [finished(), failed(Retry::Allowed), failed(Retry::Never), Outcome::Released, Outcome::Stopped] {
        assert_eq!(worker.settle(&job, outcome).await, Settled::NotOwned);
    }
    assert!(worker.claim(10).await.is_empty());
    assert_eq!(worker.backend.settle(&[]).await.unwrap(), []);
}

pub(crate) async fn released_jobs_are_next_and_not_counted(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "2", "3", "4"]).await;
    let claimed = worker.claim(3).await;
    assert_eq!(worker.settle_all(&claimed, &Outcome::Released).await, [Settled::Released; 3]);
    let again = worker.claim(10).await;
    assert_eq!(again.iter().map(record).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    assert!(again.iter().all(|job| job.attempt == 1));
    for (before, after) in claimed.iter().zip(&again) {
        assert_eq!((&before.id, before.generation), (&after.id, after.generation));
        assert_ne!(before.lease, after.lease);
    }
}

pub(crate) async fn a_failure_is_retried_until_attempts_run_out(fixture: Fixture) {
    let mut config = fixture.config("w", &["q"]);
    config.retry.max_attempts = 3;
    let worker = fixture.worker_with(config).await;
    fixture.produce("q", &["1"]).await;
    let first = worker.claim_one().await;
    for attempt in 1..=3 {
        let job = if attempt == 1 { first.clone() } else { worker.claim_one().await };
        assert_eq!((job.attempt, &job.id, job.generation), (attempt, &first.id, first.generation));
        let expected = if attempt < 3 { Settled::Retried } else { Settled::Failed };
        assert_eq!(worker.settle(&job, failed(Retry::Allowed)).await, expected);
        if attempt < 3 {
            worker.maintain_until(|total| total.due == 1).await;
        }
    }
    assert!(worker.claim(10).await.is_empty());
}

pub(crate) async fn a_hopeless_failure_is_final(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "2"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, failed(Retry::Never)).await, Settled::Failed);
    assert_eq!(worker.records(10).await, ["2"]);
}

pub(crate) async fn retries_wait_for_their_time(fixture: Fixture) {
    let mut config = fixture.config("w", &["q"]);
    config.retry.backoff = Duration::from_secs(3600);
    config.retry.max_backoff = Duration::from_secs(3600);
    let worker = fixture.worker_with(config).await;
    fixture.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, failed(Retry::Allowed)).await, Settled::Retried);
    assert_eq!(worker.backend.maintain().await.unwrap().due, 0);
    assert!(worker.claim(10).await.is_empty());
}

pub(crate) async fn a_stopped_job_does_not_come_back(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, Outcome::Stopped).await, Settled::Stopped);
    worker.backend.maintain().await.unwrap();
    assert!(worker.claim(10).await.is_empty());
}

pub(crate) async fn a_person_stops_a_job_that_runs(fixture: Fixture) {
    let stopper = fixture.stopper(&["other", "q"]);
    let worker = fixture.worker_with(fixture.config("w", &["q", "other"])).await;
    fixture.produce("q", &["1"]).await;
    assert_eq!(stopper.standing("nonsense").await.unwrap(), Standing::Unknown);
    assert_eq!(stopper.ask("nonsense").await.unwrap(), Asked::Unheard);
    let job = worker.claim_one().await;
    assert_eq!(stopper.standing(&job.id).await.unwrap(), Standing::Running { worker: "w".into() });
    let (asked, command) = tokio::join!(stopper.ask(&job.id), worker.backend.next_command());
    assert_eq!(asked.unwrap(), Asked::Heard);
    let meant = match fixture.protocol {
        Protocol::Rq => Command::StopJob(job.id.clone()),
        Protocol::List | Protocol::Stream => Command::StopJobOf { queue: "q".into(), job: job.id.clone() },
    };
    assert_eq!(command, meant);
    assert_eq!(worker.settle(&job, Outcome::Stopped).await, Settled::Stopped);
    assert_eq!(stopper.standing(&job.id).await.unwrap(), Standing::Stopped);
    assert!(fixture.failed().contains(&job.id).await.unwrap());
}

pub(crate) async fn failed_jobs_are_listed_requeued_and_purged(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "2", "3", "4"]).await;
    let claimed = worker.claim(3).await;
    assert_eq!(worker.settle_all(&claimed, &failed(Retry::Never)).await, [Settled::Failed; 3]);
    let registry = fixture.failed();
    let ids = registry.ids().await.unwrap();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), claimed.iter().map(|job| &job.id).collect());
    let jobs = registry.fetch(&ids, &PayloadLimits::default()).await.unwrap();
    for (job, claimed) in jobs.iter().zip(ids.iter().map(|id| claimed.iter().find(|job| job.id == *id).unwrap())) {
        assert_eq!((job.queue.as_str(), job.status.as_str(), job.worker.as_str()), ("q", "failed", "w"));
        assert_eq!(job.record().unwrap().as_str(), Some(record(claimed).as_str()));
        assert!(job.error.contains("no such table: companies") && job.failed_at.is_some(), "{job:?}");
    }
    let [kept, requeued, purged] = &ids[..] else { panic!("{ids:?}") };
    let again = registry.requeue(&[requeued.clone(), "nonsense".into()], true).await.unwrap();
    assert_eq!(again, [Requeued::Queued, Requeued::NotFailed]);
    assert_eq!(registry.requeue(std::slice::from_ref(requeued), true).await.unwrap(), [Requeued::NotFailed]);
    assert_eq!(registry.purge(&[purged.clone(), requeued.clone()]).await.unwrap(), 1);
    assert_eq!(registry.ids().await.unwrap(), std::slice::from_ref(kept));
    // It comes first, with all its attempts; the runs that failed are remembered.
    let job = worker.claim_one().await;
    assert_eq!((&job.id, job.attempt), (requeued, 1));
    assert_eq!(worker.settle(&job, failed(Retry::Never)).await, Settled::Failed);
    let attempts = registry.attempts(requeued).await.unwrap();
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|run| !run.succeeded && run.worker == "w" && run.ended_at.is_some()), "{attempts:?}");
    assert_eq!(worker.records(10).await, ["4"]);
}
