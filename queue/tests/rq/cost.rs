//! What a job costs Redis: commands (each call inside a script counts) and round trips. rq's own worker: 54 and 19.

use std::collections::BTreeMap;

use jobqueue_queue::Backend;
use jobqueue_testkit::Redis;

use crate::fixture::{Fixture, finished};

const JOBS: usize = 400;

#[tokio::test]
async fn a_job_costs_few_commands_and_a_batch_few_round_trips() {
    let server: &'static Redis = Box::leak(Box::new(Redis::start(&["--appendonly", "no"])));
    let mut fixture = Fixture::on(server).await;
    let worker = fixture.worker();
    worker.register().await.unwrap();
    for i in 0..=JOBS {
        fixture.enqueue(&format!("job-{i}"), &[]).await;
    }
    // Loads the scripts.
    let claim = worker.claim(1).await.unwrap();
    worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    server.cli(&["CONFIG", "RESETSTAT"]);
    let mut trips = 0;
    for _ in 0..2 {
        let claim = worker.claim(200).await.unwrap();
        let outcomes: Vec<_> = claim.deliveries.iter().map(finished).collect();
        worker.settle(&outcomes).await.unwrap();
        trips += 2;
    }
    let calls = calls(&server.cli(&["INFO", "commandstats"]));
    let scripts = calls["evalsha"];
    let inside: u64 = calls
        .iter()
        .filter(|(name, _)| !["evalsha", "config|resetstat"].contains(&name.as_str()))
        .map(|(_, n)| n)
        .sum();
    let per_job = inside as f64 / JOBS as f64;
    println!("{per_job:.2} commands a job, {trips} round trips and {scripts} scripts for {JOBS} jobs: {calls:?}");
    assert!(per_job <= 17.0, "{per_job} commands a job: {calls:?}");
    assert!(scripts <= 12, "{scripts} scripts");
    server.cli(&["SHUTDOWN", "NOSAVE"]);
}

fn calls(info: &str) -> BTreeMap<String, u64> {
    info.lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        })
        .collect()
}
