//! Candidates for one Lease: one leads at a time, a new one soon after the last.

use std::time::Duration;

use jobqueue_operator::{Elector, LEASE_DURATION, LeaseGuard, Metrics};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::api_server::{ApiServer, Fault};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/jobs/leases/jobqueue-operator";

struct Member {
    lease: LeaseGuard,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _leading: watch::Receiver<bool>,
}

fn join(server: &ApiServer, name: &str) -> Member {
    let client = server.client(LeaseGuard::unlimited(), Metrics::new());
    let (lease, stop) = (LeaseGuard::default(), CancellationToken::new());
    let (leading, is_leading) = watch::channel(false);
    let (reached, _) = watch::channel(false);
    let candidate = Elector::new(client, "jobs", "jobqueue-operator", name);
    let task = tokio::spawn(candidate.run(lease.clone(), leading, reached, stop.clone()));
    Member { lease, stop, task, _leading: is_leading }
}

/// How long it takes until `member` leads; none of `others` may lead at any moment of it together with another.
async fn until_leading(member: &Member, others: &[&Member]) -> Duration {
    let began = Instant::now();
    while !member.lease.holds() {
        sleep(Duration::from_millis(50)).await;
        let leaders = others.iter().chain([&member]).filter(|one| one.lease.holds()).count();
        assert!(leaders <= 1, "{leaders} lead");
        assert!(began.elapsed() < Duration::from_secs(60), "nobody leads");
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_hands_over_at_once() {
    let server = ApiServer::default();
    let first = join(&server, "a");
    until_leading(&first, &[]).await;
    let second = join(&server, "b");
    sleep(LEASE_DURATION * 5).await;
    assert!(first.lease.holds() && !second.lease.holds());
    first.stop.cancel();
    let waited = until_leading(&second, &[&first]).await;
    assert!(waited <= Duration::from_secs(2), "{waited:?}");
    first.task.await.unwrap();
    assert_eq!(server.get(PATH).unwrap()["spec"]["holderIdentity"], "b");
    assert_eq!(server.get(PATH).unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_is_followed_when_its_lease_lapses() {
    let server = ApiServer::default();
    let first = join(&server, "a");
    until_leading(&first, &[]).await;
    let second = join(&server, "b");
    sleep(LEASE_DURATION).await;
    // Its lease ends by the clock alone, as that of a process that is stopped.
    first.task.abort();
    let waited = until_leading(&second, &[&first]).await;
    assert!((Duration::from_secs(7)..=LEASE_DURATION + Duration::from_secs(3)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_restarts_under_its_name_leads_on_at_once() {
    let server = ApiServer::default();
    let first = join(&server, "a");
    until_leading(&first, &[]).await;
    first.task.abort();
    let again = join(&server, "a");
    let waited = until_leading(&again, &[]).await;
    assert!(waited <= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_once_costs_nothing() {
    for fault in [Fault::Status(500), Fault::Status(429), Fault::Silence] {
        let server = ApiServer::default();
        let first = join(&server, "a");
        until_leading(&first, &[]).await;
        let second = join(&server, "b");
        server.inject(1, fault);
        let began = Instant::now();
        while began.elapsed() < LEASE_DURATION * 4 {
            sleep(Duration::from_millis(100)).await;
            assert!(first.lease.holds(), "{fault:?} after {:?}", began.elapsed());
            assert!(!second.lease.holds(), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_come_together_do_not_both_lead() {
    let server = ApiServer::default();
    let (first, second) = (join(&server, "a"), join(&server, "b"));
    let began = Instant::now();
    while began.elapsed() < LEASE_DURATION * 3 {
        sleep(Duration::from_millis(50)).await;
        assert!(!(first.lease.holds() && second.lease.holds()));
    }
    assert!(first.lease.holds() || second.lease.holds());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_one_write_and_a_change_by_others_is_looked_at() {
    let server = ApiServer::default();
    let first = join(&server, "a");
    until_leading(&first, &[]).await;
    let reads = server.reads("jobqueue-operator");
    sleep(LEASE_DURATION * 6).await;
    assert!(first.lease.holds());
    assert_eq!(server.reads("jobqueue-operator"), reads, "what it wrote itself it need not read");
    let mut changed = server.get(PATH).unwrap();
    changed["metadata"]["labels"]["by"] = "somebody".into();
    server.put(PATH, changed);
    sleep(LEASE_DURATION).await;
    assert!(first.lease.holds());
    assert_eq!(server.reads("jobqueue-operator"), reads + 1);
    assert_eq!(server.get(PATH).unwrap()["metadata"]["labels"]["by"], "somebody", "and it stays");
    server.remove(PATH);
    sleep(LEASE_DURATION).await;
    assert!(first.lease.holds());
    assert_eq!(server.get(PATH).unwrap()["spec"]["holderIdentity"], "a", "made anew");
}
