//! What Redis refuses, it refuses before a job is taken: rights, keys of another type, memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jobqueue_queue::acl::{Role, commands, rules};
use jobqueue_queue::admin::Requeued;
use jobqueue_queue::{
    Backend, FaultReporter, Outcome, PayloadLimits, Protocol, QueueError, Retry, Settled, StatsQuery, stats,
};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, failed, finished, record};

/// Sent by the client library or needed to run any script: without them there is no worker at all.
const NEEDED_TO_BEGIN: [&str; 5] = ["evalsha", "eval", "select", "ping", "info"];

/// The jobs that wait, as nobody has touched them.
fn waiting(fixture: &Fixture) -> String {
    let cli = |words: &[&str]| fixture.redis.cli(words);
    match fixture.protocol {
        Protocol::Rq => {
            let ids = cli(&["LRANGE", &format!("{}:queue:q", fixture.prefix), "0", "-1"]);
            let status = |id: &str| cli(&["HGET", &format!("{}:job:{id}", fixture.prefix), "status"]);
            let leases = cli(&["ZCARD", &format!("{}:wip:q", fixture.prefix)]);
            let statuses: Vec<String> = ids.lines().map(status).collect();
            format!("{ids} {statuses:?} {leases}")
        }
        Protocol::List => format!("{} {}", cli(&["LRANGE", "q", "0", "-1"]), cli(&["ZCARD", "jobqueue:{q}:lease"])),
        Protocol::Stream => {
            let pending = cli(&["XPENDING", "q", "jobqueue"]);
            let first = if pending.contains("NOGROUP") { "0" } else { pending.lines().next().unwrap_or("0") };
            format!("{first} {} {}", cli(&["XLEN", "q"]), cli(&["ZCARD", "jobqueue:{q}:jobqueue:lease"]))
        }
    }
}

fn names() -> Vec<String> {
    vec!["q".into()]
}

/// Gives the account `u` the generated rules and, after them, `but`.
fn account(fixture: &Fixture, role: Role, but: &[&str]) {
    let rules = rules(fixture.protocol, &names(), fixture.prefix, "jobqueue", role).unwrap();
    let words: Vec<&str> = ["ACL", "SETUSER", "u", "reset", "on", ">p"]
        .into_iter()
        .chain(rules.split(' '))
        .chain(but.iter().copied())
        .collect();
    assert_eq!(fixture.redis.cli(&words), "OK", "{words:?}");
}

/// Takes whatever is there and finishes it, and what lapsed meanwhile; answers how many records there were.
async fn finish_all(fixture: &Fixture, number: usize) -> BTreeSet<String> {
    let worker = fixture.hasty_worker("after").await;
    let mut records = BTreeSet::new();
    let begun = Instant::now();
    let first = waiting(fixture);
    while records.len() < number {
        worker.backend.maintain().await.unwrap();
        let claimed = worker.claim(10).await;
        records.extend(claimed.iter().map(record));
        worker.settle_all(&claimed, &finished()).await;
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "only {records:?} came back on {}: {first}, {}",
            fixture.redis.port(),
            waiting(fixture)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    records
}

pub(super) async fn the_generated_account_is_enough(fixture: Fixture) {
    fixture.produce("q", &["1", "2", "3", "4", "5"]).await;
    account(&fixture, Role::Worker, &[]);
    let of_u = fixture.as_user("u", "p");
    let worker = of_u.hasty_worker("w").await;
    let claimed = worker.claim(5).await;
    assert!(
        worker
            .backend
            .heartbeat(&claimed.iter().map(|job| job.lease.clone()).collect::<Vec<_>>())
            .await
            .unwrap()
            .is_empty()
    );
    for (job, outcome) in claimed.iter().zip([
        finished(),
        failed(Retry::Never),
        failed(Retry::Allowed),
        Outcome::Released,
        Outcome::Stopped,
    ]) {
        assert_ne!(worker.settle(job, outcome).await, Settled::NotOwned);
    }
    worker.backend.maintain().await.unwrap();
    let registry = of_u.failed();
    let ids = registry.ids().await.unwrap();
    assert_eq!(ids.len(), 2);
    registry.fetch(&ids, &PayloadLimits::default()).await.unwrap();
    registry.attempts(&ids[0]).await.unwrap();
    assert_eq!(registry.requeue(&ids[..1], true).await.unwrap(), [Requeued::Queued]);
    assert_eq!(registry.purge(&ids[1..]).await.unwrap(), 1);
    let config = of_u.config("w", &["q"]);
    FaultReporter::new(&of_u.connection, &config).unwrap().post(None).await.unwrap();
    worker.backend.wait(Duration::from_millis(10)).await.unwrap();
    worker.backend.deregister().await.unwrap();

    account(&fixture, Role::Watcher, &[]);
    let looked = stats(&of_u.connection, &[StatsQuery::from(&config)]).await.unwrap().remove(0).unwrap();
    assert!(looked.waiting + looked.scheduled >= 2, "{looked:?}");
    assert!(matches!(registry.purge(&ids).await, Err(QueueError::Denied { .. })), "it may only look");
}

pub(super) async fn a_missing_right_takes_nothing(fixture: Fixture) {
    for command in commands(fixture.protocol, Role::Worker) {
        if NEEDED_TO_BEGIN.contains(&command.as_str()) {
            continue;
        }
        fixture.redis.cli(&["FLUSHALL"]);
        account(&fixture, Role::Worker, &[]);
        fixture.produce("q", &["1", "2", "3"]).await;
        let of_u = fixture.as_user("u", "p");
        let backend = of_u.backend(of_u.hasty_config("w"));
        // A worker that had all rights when it began, and one that had not.
        let before = waiting(&fixture);
        account(&fixture, Role::Worker, &[&format!("-{command}")]);
        let begun = backend.register().await;
        match backend.claim(2).await {
            Err(error) => {
                assert!(matches!(error, QueueError::Denied { .. }), "{command}: {error}");
                let word = command.split('|').next().unwrap();
                let (text, word) = (error.to_string().to_lowercase(), word.to_lowercase());
                assert!(text.contains(&word), "{command} is not named: {text}");
                assert_eq!(waiting(&fixture), before, "without {command} something was taken");
                account(&fixture, Role::Worker, &[]);
            }
            Ok(claim) => {
                assert_eq!(claim.deliveries.len(), 2, "{command}: {begun:?}");
                let _ = backend.heartbeat(&[claim.deliveries[0].lease.clone()]).await;
                account(&fixture, Role::Worker, &[]);
                for job in &claim.deliveries {
                    let settled = settle(&*backend, job, Outcome::Released).await.unwrap();
                    assert_eq!(settled, Settled::Released, "{command}");
                }
            }
        }
        // Whatever became of the two: nothing is lost.
        assert_eq!(finish_all(&fixture, 3).await.len(), 3, "{command}");
    }
}

pub(super) async fn a_right_that_goes_while_jobs_are_in_hand_loses_none(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for command in ["hset", "zadd", "zrem", "del", "xadd", "lpush", "hget", "xack"] {
        let fixture = Fixture::new(fixture.protocol);
        tasks.spawn(async move {
            for outcome in [finished(), failed(Retry::Allowed), Outcome::Released] {
                settle_without(&fixture, command, outcome).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn settle_without(fixture: &Fixture, command: &str, outcome: Outcome) {
    fixture.redis.cli(&["FLUSHALL"]);
    account(fixture, Role::Worker, &[]);
    fixture.produce("q", &["1"]).await;
    let of_u = fixture.as_user("u", "p");
    let backend = of_u.backend(of_u.hasty_config("w"));
    backend.register().await.unwrap();
    let claim = backend.claim(1).await.unwrap();
    account(fixture, Role::Worker, &[&format!("-{command}")]);
    println!("without {command}, {outcome:?} on {}", fixture.redis.port());
    let settled = settle(&*backend, &claim.deliveries[0], outcome.clone()).await;
    let _ = backend.maintain().await;
    account(fixture, Role::Worker, &[]);
    if !matches!(settled, Ok(Settled::Finished)) {
        assert_eq!(finish_all(fixture, 1).await.len(), 1, "{command}, {outcome:?}: {settled:?}");
    }
}

async fn settle(
    backend: &dyn Backend,
    delivery: &jobqueue_queue::Delivery,
    outcome: Outcome,
) -> Result<Settled, QueueError> {
    let now = chrono::Utc::now();
    let completion = jobqueue_queue::Completion { delivery: delivery.clone(), outcome, started_at: now, ended_at: now };
    Ok(backend.settle(&[completion]).await?[0])
}

pub(super) async fn a_key_of_another_type_takes_nothing(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    let keys: Vec<String> = match fixture.protocol {
        Protocol::Rq => [
            "wip:q",
            "failed:q",
            "finished:q",
            "scheduled:q",
            "worker:other:executions",
            "jobqueue:aside:q",
            "jobqueue:gone:q",
        ]
        .map(|part| format!("{}:{part}", fixture.prefix))
        .into(),
        Protocol::List => {
            ["ready", "lease", "scheduled", "failed", "workers"].map(|part| format!("jobqueue:{{q}}:{part}")).into()
        }
        Protocol::Stream => ["ready", "lease", "scheduled", "failed", "workers"]
            .map(|part| format!("jobqueue:{{q}}:jobqueue:{part}"))
            .into(),
    };
    fixture.produce("q", &["1", "2"]).await;
    // All is well at first; the key changes its type under the worker.
    let before = waiting(&fixture);
    for key in keys {
        let kept = fixture.redis.cli(&["RENAME", &key, "kept"]);
        fixture.redis.cli(&["SET", &key, "text"]);
        // Found out at once by a worker that begins, and by one at work after its first error.
        let other = fixture.backend(fixture.config("other", &["q"]));
        let error = other.claim(2).await.unwrap_err();
        assert!(matches!(error, QueueError::Data(_)), "{key}: {error}");
        assert!(error.to_string().contains(&key) || key.contains(":other:"), "{key}: {error}");
        fixture.redis.cli(&["DEL", &key]);
        if kept == "OK" {
            fixture.redis.cli(&["RENAME", "kept", &key]);
        }
        assert_eq!(waiting(&fixture), before, "{key}");
    }
    assert_eq!(worker.claim(2).await.len(), 2);
}

pub(super) async fn a_full_redis_takes_nothing_and_loses_no_lease(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "2", "3"]).await;
    let claimed = worker.claim(2).await;
    let before = waiting(&fixture);
    assert_eq!(fixture.redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let error = worker.backend.claim(1).await.unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }) && error.to_string().contains("maxmemory"), "{error}");
    assert_eq!(waiting(&fixture), before);
    let leases: Vec<_> = claimed.iter().map(|job| job.lease.clone()).collect();
    assert!(worker.backend.heartbeat(&leases).await.unwrap().is_empty());
    assert_eq!(worker.settle(&claimed[0], finished()).await, Settled::Finished);
    assert_eq!(worker.settle(&claimed[1], failed(Retry::Never)).await, Settled::Failed);
    worker.backend.maintain().await.unwrap();
    fixture.redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(worker.records(5).await, ["3"]);
}

/// Redis's clock goes back an hour: what was leased before is not held for an hour.
pub(super) async fn a_clock_that_is_set_back_holds_no_lease(fixture: Fixture) {
    let worker = fixture.hasty_worker("w").await;
    fixture.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    // As it looks after that: the lease ends in an hour.
    let (key, member, hour) = match fixture.protocol {
        Protocol::Rq => {
            (format!("{}:wip:q", fixture.prefix), format!("{}:{}", job.lease.job, job.lease.execution), 3600.0)
        }
        Protocol::List => ("jobqueue:{q}:lease".to_owned(), job.lease.job.clone(), 3.6e9),
        Protocol::Stream => ("jobqueue:{q}:jobqueue:lease".to_owned(), job.lease.job.clone(), 3.6e9),
    };
    fixture.redis.cli(&["ZINCRBY", &key, &format!("{hour}"), &member]);
    assert_eq!(finish_all(&fixture, 1).await.len(), 1);
}
