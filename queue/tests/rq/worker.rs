//! The worker's own record, heartbeats, suspension and commands.

use std::time::Duration;

use jobqueue_queue::{Backend, Command};
use jobqueue_testkit::unique;

use crate::fixture::Fixture;

#[tokio::test]
async fn a_worker_is_on_record_from_birth_to_death() {
    let mut fixture = Fixture::new().await;
    let config = fixture.config();
    let key = format!("rq:worker:{}", config.worker_name);
    let worker = fixture.worker_with(config);
    worker.register().await.unwrap();
    let fields: Vec<Option<String>> = fixture.redis(&format!("HMGET {key} birth queues pid state")).await;
    assert!(fields[0].as_ref().unwrap().ends_with('Z'));
    assert_eq!(fields[1].as_deref(), Some(fixture.name.as_str()));
    assert!(fields[2].as_ref().unwrap().parse::<u32>().is_ok());
    assert_eq!(fields[3].as_deref(), Some("idle"));
    assert!(fixture.redis::<bool>(&format!("SISMEMBER rq:workers {key}")).await);
    assert!(fixture.redis::<bool>(&format!("SISMEMBER rq:workers:Q {key}")).await);
    // It expired (a long pause); the next heartbeat writes it whole.
    fixture.redis::<()>(&format!("DEL {key}")).await;
    fixture.enqueue(&unique("job"), &[]).await;
    worker.claim(1).await.unwrap();
    assert!(!fixture.redis::<bool>(&format!("EXISTS {key}")).await, "half a record upsets every reader");
    worker.heartbeat(&[]).await.unwrap();
    let fields: Vec<Option<String>> = fixture.redis(&format!("HMGET {key} birth queues pid")).await;
    assert!(fields.iter().all(Option::is_some), "{fields:?}");
    worker.deregister().await.unwrap();
    assert!(!fixture.redis::<bool>(&format!("SISMEMBER rq:workers {key}")).await);
    let ttl: i64 = fixture.redis(&format!("TTL {key}")).await;
    assert!((1..=60).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn heartbeats_renew_leases() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let id = unique("job");
    fixture.enqueue(&id, &[]).await;
    let claim = worker.claim(1).await.unwrap();
    let lease = claim.deliveries[0].lease.clone();
    fixture.lapse(&claim.deliveries[0]).await;
    fixture.redis::<()>(&format!("DEL rq:execution:{id}:{}", lease.execution)).await;
    assert!(worker.heartbeat(std::slice::from_ref(&lease)).await.unwrap().is_empty(), "late, and nobody minded");
    assert_eq!(worker.maintain().await.unwrap().reclaimed, 0);
    let execution: Vec<Option<String>> =
        fixture.redis(&format!("HMGET rq:execution:{id}:{} id created_at last_heartbeat", lease.execution)).await;
    assert!(execution.iter().all(Option::is_some), "{execution:?}");
}

#[tokio::test]
async fn suspension_holds_all_claims() {
    // On a server of its own: the key stops every worker of a Redis.
    let server: &'static jobqueue_testkit::Redis = Box::leak(Box::new(jobqueue_testkit::Redis::start(&[])));
    let mut fixture = Fixture::on(server).await;
    let worker = fixture.worker();
    fixture.enqueue("job", &[]).await;
    fixture.redis::<()>("SET rq:suspended 1").await;
    let claim = worker.claim(1).await.unwrap();
    assert!(claim.suspended && claim.deliveries.is_empty());
    fixture.redis::<()>("DEL rq:suspended").await;
    assert_eq!(worker.claim(1).await.unwrap().deliveries.len(), 1);
    fixture.server.cli(&["SHUTDOWN", "NOSAVE"]);
}

#[tokio::test]
async fn commands_arrive_in_order_from_registration_on() {
    let mut fixture = Fixture::new().await;
    let config = fixture.config();
    let channel = format!("rq:pubsub:{}", config.worker_name);
    let worker = fixture.worker_with(config);
    worker.register().await.unwrap();
    fixture.redis::<()>(&format!(r#"PUBLISH {channel} {{"command":"stop-job","job_id":"a"}}"#)).await;
    fixture.redis::<()>(&format!(r#"PUBLISH {channel} {{"command":"unheard-of"}}"#)).await;
    fixture.redis::<()>(&format!(r#"PUBLISH {channel} {{"command":"shutdown"}}"#)).await;
    let next = || tokio::time::timeout(Duration::from_secs(10), worker.next_command());
    assert_eq!(next().await.unwrap(), Command::StopJob("a".into()));
    assert_eq!(next().await.unwrap(), Command::Shutdown);
}
