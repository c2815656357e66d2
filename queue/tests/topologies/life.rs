//! Each protocol's whole life, wherever the connection leads: all that is sent, and all answers that are read.

use std::time::Duration;

use chrono::Utc;
use jobqueue_queue::admin::{FailedJobs, Requeued};
use jobqueue_queue::{
    Backend, Completion, Connection, Outcome, PayloadLimits, Protocol, QueueConfig, Retry, Serializer, Settled,
    StatsQuery, connect, payload, stats,
};
use redis::Value;
use serde_json::Map;

use crate::run;

const PREFIX: &str = "{rq}";

/// From the first record to the purge of the failed one, for RQ, lists and streams.
pub(crate) async fn life(connection: &Connection) {
    let mut queries = Vec::new();
    for protocol in [Protocol::Rq, Protocol::List, Protocol::Stream] {
        let names: Vec<String> = ["one", "two", "three"].map(|name| format!("{protocol}-{name}")).into();
        let mut config = QueueConfig::new(protocol, names.clone(), format!("worker-{protocol}"));
        config.key_prefix = PREFIX.into();
        queries.push(StatsQuery::from(&config));
        let worker = connect(connection, config).unwrap();
        worker.register().await.unwrap();
        for name in &names {
            produce(connection, protocol, name).await;
        }
        worker.wait(Duration::from_secs(5)).await.unwrap();
        assert_eq!(one_run(&*worker, &finished()).await, (names.clone(), vec![Settled::Finished; 3]), "{protocol}");
        worker.maintain().await.unwrap();
        fail(connection, &*worker, protocol, &names[0]).await;
    }
    for (query, stats) in queries.iter().zip(stats(connection, &queries).await.unwrap()) {
        let stats = stats.unwrap();
        assert_eq!((stats.waiting, stats.running, stats.failed, stats.workers.len()), (0, 0, 0, 1), "{query:?}");
        assert_eq!((stats.workers[0].succeeded, stats.workers[0].failed), (4, 1), "{query:?}");
    }
}

/// A job fails, is looked at, given another chance, fails not again; another is looked for in vain.
async fn fail(connection: &Connection, worker: &dyn Backend, protocol: Protocol, queue: &str) {
    produce(connection, protocol, queue).await;
    let outcome = Outcome::Failed { error: "no such table".into(), retry: Retry::Never };
    assert_eq!(one_run(worker, &outcome).await, (vec![queue.to_owned()], vec![Settled::Failed]), "{protocol}");
    let failed = FailedJobs::of(connection.clone(), protocol, PREFIX, "jobqueue", queue).unwrap();
    let ids = failed.ids().await.unwrap();
    assert_eq!(ids.len(), 1, "{protocol}");
    assert!(failed.contains(&ids[0]).await.unwrap() && !failed.contains("other").await.unwrap(), "{protocol}");
    let jobs = failed.fetch(&ids, &PayloadLimits::default()).await.unwrap();
    assert_eq!(jobs[0].error, "no such table", "{protocol}");
    assert!(jobs[0].call.as_ref().is_some_and(Result::is_ok), "{protocol}: {:?}", jobs[0]);
    assert_eq!(failed.attempts(&ids[0]).await.unwrap().len(), 1, "{protocol}");
    assert_eq!(failed.requeue(&ids, false).await.unwrap(), [Requeued::Queued], "{protocol}");
    assert_eq!(one_run(worker, &finished()).await.1, [Settled::Finished], "{protocol}");
    assert_eq!(failed.purge(&ids).await.unwrap(), 0, "{protocol}");
}

/// Claims all there is, keeps the leases, and settles; answers the queues and what became of the jobs.
async fn one_run(worker: &dyn Backend, outcome: &Outcome) -> (Vec<String>, Vec<Settled>) {
    let claim = worker.claim(10).await.unwrap();
    let queues = claim.deliveries.iter().map(|delivery| delivery.queue.clone()).collect();
    let leases: Vec<_> = claim.deliveries.iter().map(|delivery| delivery.lease.clone()).collect();
    assert!(worker.heartbeat(&leases).await.unwrap().is_empty());
    let now = Utc::now();
    let completion = |delivery| Completion { delivery, outcome: outcome.clone(), started_at: now, ended_at: now };
    let completions: Vec<Completion> = claim.deliveries.into_iter().map(completion).collect();
    (queues, worker.settle(&completions).await.unwrap())
}

fn finished() -> Outcome {
    Outcome::Finished { result: serde_json::Value::Null }
}

async fn produce(connection: &Connection, protocol: Protocol, name: &str) {
    match protocol {
        Protocol::List => _ = run(connection, &["RPUSH", name, "record"]).await.unwrap(),
        Protocol::Stream => _ = run(connection, &["XADD", name, "*", "record", "1"]).await.unwrap(),
        Protocol::Rq => {
            let data = payload::encode_call("m.f", &[], &Map::new(), Serializer::Json);
            let id = uuid::Uuid::new_v4().to_string();
            let mut set = redis::cmd("HSET");
            set.arg(format!("{PREFIX}:job:{id}")).arg("data").arg(data).arg("status").arg("queued");
            set.arg("created_at").arg("2026-01-02T03:04:05.000006Z").arg("origin").arg(name);
            connection.query::<Value>(&set).await.unwrap();
            run(connection, &["RPUSH", &format!("{PREFIX}:queue:{name}"), &id]).await.unwrap();
        }
    }
}
