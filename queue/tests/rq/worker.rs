//! The worker's own record, heartbeats, suspension and commands.

use std::time::Duration;

use jobqueue_queue::{Backend, Command};
use jobqueue_testkit::unique;

use crate::bay::Bay;

#[tokio::test]
async fn a_worker_is_on_record_from_birth_to_death() {
    let mut bay = Bay::new().await;
    let config = bay.config();
    let key = format!("rq:worker:{}", config.worker_name);
    let worker = bay.worker_with(config);
    worker.register().await.unwrap();
    let fields: Vec<Option<String>> = bay.redis(&format!("HMGET {key} birth queues pid state")).await;
    assert!(fields[0].as_ref().unwrap().ends_with('Z'));
    assert_eq!(fields[1].as_deref(), Some(bay.name.as_str()));
    assert!(fields[2].as_ref().unwrap().parse::<u32>().is_ok());
    assert_eq!(fields[3].as_deref(), Some("idle"));
    assert!(bay.redis::<bool>(&format!("SISMEMBER rq:workers {key}")).await);
    assert!(bay.redis::<bool>(&format!("SISMEMBER rq:workers:Q {key}")).await);
    // It expired (a long pause); the next heartbeat writes it whole.
    bay.redis::<()>(&format!("DEL {key}")).await;
    bay.enqueue(&unique("job"), &[]).await;
    worker.claim(1).await.unwrap();
    assert!(!bay.redis::<bool>(&format!("EXISTS {key}")).await, "half a record upsets every reader");
    worker.heartbeat(&[]).await.unwrap();
    let fields: Vec<Option<String>> = bay.redis(&format!("HMGET {key} birth queues pid")).await;
    assert!(fields.iter().all(Option::is_some), "{fields:?}");
    worker.deregister().await.unwrap();
    assert!(!bay.redis::<bool>(&format!("SISMEMBER rq:workers {key}")).await);
    let ttl: i64 = bay.redis(&format!("TTL {key}")).await;
    assert!((1..=60).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn heartbeats_renew_leases() {
    let mut bay = Bay::new().await;
    let worker = bay.worker();
    let id = unique("job");
    bay.enqueue(&id, &[]).await;
    let claim = worker.claim(1).await.unwrap();
    let lease = claim.deliveries[0].lease.clone();
    bay.lapse(&claim.deliveries[0]).await;
    bay.redis::<()>(&format!("DEL rq:execution:{id}:{}", lease.execution)).await;
    assert!(worker.heartbeat(std::slice::from_ref(&lease)).await.unwrap().is_empty(), "late, and nobody minded");
    assert_eq!(worker.maintain().await.unwrap().reclaimed, 0);
    let execution: Vec<Option<String>> =
        bay.redis(&format!("HMGET rq:execution:{id}:{} id created_at last_heartbeat", lease.execution)).await;
    assert!(execution.iter().all(Option::is_some), "{execution:?}");
}

#[tokio::test]
async fn suspension_holds_all_claims() {
    // On a server of its own: the key stops every worker of a Redis.
    let server: &'static jobqueue_testkit::Redis = Box::leak(Box::new(jobqueue_testkit::Redis::start(&[])));
    let mut bay = Bay::on(server).await;
    let worker = bay.worker();
    bay.enqueue("job", &[]).await;
    bay.redis::<()>("SET rq:suspended 1").await;
    let claim = worker.claim(1).await.unwrap();
    assert!(claim.suspended && claim.deliveries.is_empty());
    bay.redis::<()>("DEL rq:suspended").await;
    assert_eq!(worker.claim(1).await.unwrap().deliveries.len(), 1);
    bay.server.cli(&["SHUTDOWN", "NOSAVE"]);
}

#[tokio::test]
async fn commands_arrive_in_order_from_registration_on() {
    let mut bay = Bay::new().await;
    let config = bay.config();
    let channel = format!("rq:pubsub:{}", config.worker_name);
    let worker = bay.worker_with(config);
    worker.register().await.unwrap();
    bay.redis::<()>(&format!(r#"PUBLISH {channel} {{"command":"stop-job","job_id":"a"}}"#)).await;
    bay.redis::<()>(&format!(r#"PUBLISH {channel} {{"command":"unheard-of"}}"#)).await;
    bay.redis::<()>(&format!(r#"PUBLISH {channel} {{"command":"shutdown"}}"#)).await;
    let next = || tokio::time::timeout(Duration::from_secs(10), worker.next_command());
    assert_eq!(next().await.unwrap(), Command::StopJob("a".into()));
    assert_eq!(next().await.unwrap(), Command::Shutdown);
}
