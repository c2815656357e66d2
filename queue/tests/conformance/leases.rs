//! How long a job stays with its worker.

use std::time::{Duration, Instant};

use jobqueue_queue::{Outcome, Retry, Settled};

use crate::fixture::{Fixture, failed, finished, record};

pub(crate) async fn heartbeats_keep_a_job(fixture: Fixture) {
    let worker = fixture.hasty_worker("w").await;
    fixture.produce("q", &["kept", "lapsing"]).await;
    let kept = worker.claim_one().await;
    worker.claim_one().await;
    // The other job's lease shows that the time of the first one was over, had it not been renewed.
    let begun = Instant::now();
    let mut reclaimed = 0;
    while reclaimed == 0 || begun.elapsed() < Duration::from_millis(600) {
        assert_eq!(worker.backend.heartbeat(std::slice::from_ref(&kept.lease)).await.unwrap(), []);
        reclaimed += worker.backend.maintain().await.unwrap().reclaimed;
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((reclaimed, worker.records(10).await), (1, vec!["lapsing".to_owned()]));
    assert_eq!(worker.settle(&kept, finished()).await, Settled::Finished);
}

pub(crate) async fn a_lapsed_lease_is_reclaimed_in_order(fixture: Fixture) {
    let crashing = fixture.hasty_worker("crashing").await;
    let other = fixture.worker("other").await;
    let records: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    fixture.produce("q", &records.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let lost = crashing.claim(11).await;
    other.maintain_until(|total| total.reclaimed == 11).await;
    // Perhaps in several batches: a backend may keep apart what may have killed a worker.
    let mut again = Vec::new();
    while again.len() < records.len() {
        let claimed = other.claim(20).await;
        assert!(!claimed.is_empty());
        again.extend(claimed);
    }
    // Before the one that was waiting, in the order they had.
    assert_eq!(again.iter().map(record).collect::<Vec<_>>(), records);
    assert_eq!(again.iter().map(|job| job.attempt).collect::<Vec<_>>(), [[2; 11].as_slice(), &[1]].concat());
    assert!(lost.iter().zip(&again).all(|(lost, again)| lost.id == again.id && lost.generation == again.generation));
}

pub(crate) async fn a_lost_job_cannot_be_settled_or_kept(fixture: Fixture) {
    let zombie = fixture.hasty_worker("zombie").await;
    let other = fixture.worker("other").await;
    fixture.produce("q", &["1"]).await;
    let stale = zombie.claim_one().await;
    other.maintain_until(|total| total.reclaimed == 1).await;
    for _ in 0..2 {
        assert_eq!(
            zombie.backend.heartbeat(std::slice::from_ref(&stale.lease)).await.unwrap(),
            std::slice::from_ref(&stale.lease)
        );
        for outcome in [finished(), failed(Retry::Allowed), failed(Retry::Never), Outcome::Released, Outcome::Stopped] {
            assert_eq!(zombie.settle(&stale, outcome).await, Settled::NotOwned);
        }
    }
    // Also when it is the same worker that claims it again.
    let again = zombie.claim_one().await;
    assert_eq!(again.attempt, 2);
    assert_eq!(zombie.settle(&stale, finished()).await, Settled::NotOwned);
    assert_eq!(zombie.settle(&again, finished()).await, Settled::Finished);
}

pub(crate) async fn a_job_that_kills_workers_is_abandoned(fixture: Fixture) {
    let mut config = fixture.config("w", &["q"]);
    config.lease = Duration::from_millis(50);
    config.retry.max_attempts = 2;
    let worker = fixture.worker_with(config).await;
    fixture.produce("q", &["deadly", "harmless"]).await;
    worker.claim_one().await;
    worker.maintain_until(|total| total.reclaimed == 1).await;
    assert_eq!(worker.claim_one().await.attempt, 2);
    let total = worker.maintain_until(|total| total.abandoned == 1).await;
    assert_eq!(total.reclaimed, 0);
    assert_eq!(worker.records(10).await, ["harmless"]);
}

pub(crate) async fn a_server_that_lost_its_data_is_served_again(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "2"]).await;
    let before = worker.claim_one().await;
    fixture.redis.cli(&["FLUSHALL"]);
    assert_eq!(worker.backend.heartbeat(std::slice::from_ref(&before.lease)).await.unwrap().len(), 1);
    assert_eq!(worker.settle(&before, finished()).await, Settled::NotOwned);
    worker.backend.maintain().await.unwrap();
    fixture.produce("q", &["3"]).await;
    let after = worker.claim_one().await;
    assert_eq!(record(&after), "3");
    assert_ne!(after.id, before.id);
    assert_eq!(worker.settle(&after, finished()).await, Settled::Finished);
}
