//! Statuses that cannot be written, and an API server that asks for a pause: with the operator's own watches, pace and back-off.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, QUEUE, cluster_with_generation, queue},
    live::Live,
};

fn status_writes(server: &ApiServer) -> usize {
    server.writes().iter().filter(|write| write.ends_with("/status")).count()
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_is_tried_less_and_less_often() {
    let server = cluster_with_generation();
    server.refuse(Some(("/status", "etcdserver: request timed out")));
    let _live = Live::start(&server);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tries = status_writes(&server);
    assert!((4..=12).contains(&tries), "{tries} in the first minute");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let more = status_writes(&server) - tries;
    assert!((3..=10).contains(&more), "{more} in the next five");
    server.refuse(None);
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_the_api_server_asks_for_is_made_by_all() {
    let server = cluster_with_generation();
    let live = Live::start(&server);
    live.until(Duration::from_secs(10), |server| server.get(DEPLOYMENT).is_some()).await;
    server.be_busy(Some(25));
    let requests = || server.requests();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (before, began) = (requests(), tokio::time::Instant::now());
    let mut moments = Vec::new();
    let mut seen = before;
    while began.elapsed() < Duration::from_secs(120) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if requests() > seen {
            moments.push(began.elapsed().as_secs());
            seen = requests();
        }
    }
    // One burst after each pause, and nothing in between.
    assert!(moments.len() <= 6, "{moments:?}");
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= 24 || pair[1] - pair[0] <= 1), "{moments:?}");
    server.be_busy(None);
    let mut object = server.get(QUEUE).unwrap();
    object["spec"]["worker"] = json!({"image": "worker:2"});
    live.apply(QUEUE, object);
    live.until(Duration::from_secs(60), |server| {
        server.get(DEPLOYMENT).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"] == "worker:2"
    })
    .await;
}

/// Queues that never become ready: most want a Secret, of some the Deployment is refused, of others the status.
fn broken() -> usize {
    std::env::var("BROKEN_QUEUES").map_or(1_000, |number| number.parse().expect("a number"))
}

fn of_queue(name: &str) -> String {
    format!("/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/{name}")
}

fn named(name: &str, secret: &str) -> Value {
    let mut object = queue();
    object["metadata"]["name"] = name.into();
    object["metadata"]["uid"] = name.into();
    object["metadata"]["generation"] = 1.into();
    object["spec"]["queue"]["redis"]["urlSecretKeyRef"]["name"] = secret.into();
    object
}

/// Changes the image of the queue that is well, and returns how long it took.
async fn change(live: &Live, server: &ApiServer, image: &str) -> Duration {
    let mut object = server.get(QUEUE).unwrap();
    object["spec"]["worker"] = json!({"image": image});
    let generation = object["metadata"]["generation"].as_i64().unwrap();
    object["metadata"]["generation"] = (generation + 1).into();
    live.apply(QUEUE, object);
    let is_changed = |server: &ApiServer| {
        let deployment = server.get(DEPLOYMENT).unwrap_or_default();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image
    };
    live.until(Duration::from_secs(60), is_changed).await
}

/// The small form of ten thousand.
#[tokio::test(start_paused = true)]
async fn queues_that_never_become_ready_cost_little_and_others_are_served_meanwhile() {
    let server = cluster_with_generation();
    server.refuse_within("/deployments/refused-", "-worker", "admission webhook denied the request");
    server.refuse_within("/jobqueues/mute-", "/status", "etcdserver: request timed out");
    let broken = broken();
    for number in 0..broken {
        let (kind, secret) = match number % 12 {
            0 => ("refused", "warehouse".into()),
            1 => ("mute", "warehouse".into()),
            _ => ("lost", format!("of-{number}")),
        };
        let name = format!("{kind}-{number}");
        server.put(&of_queue(&name), named(&name, &secret));
    }
    let live = Live::start(&server);
    // The first of them have failed, and most were not reconciled yet.
    live.until(Duration::from_secs(10), |server| server.get(DEPLOYMENT).is_some()).await;
    let (mut a_second, mut delays) = (Vec::new(), Vec::new());
    for minute in 0..3 {
        let (before, began) = (server.requests(), tokio::time::Instant::now());
        for early in 0..10 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            delays.push(change(&live, &server, &format!("worker:{minute}.{early}")).await);
        }
        tokio::time::sleep_until(began + Duration::from_secs(60)).await;
        a_second.push((server.requests() - before) / 60);
        // One that is made meanwhile.
        let name = format!("well-{minute}");
        live.apply(&of_queue(&name), named(&name, "warehouse"));
        let deployment = DEPLOYMENT.replace("lines", &name);
        delays.push(live.until(Duration::from_secs(30), |server| server.get(&deployment).is_some()).await);
    }
    println!("{a_second:?} requests a second, minute by minute; delays of the others: {delays:?}");
    // The first reconciles of all, and then one retry each 15 ms at most, of four requests at most.
    assert!(a_second[0] <= 70 * broken / 1_000 + 270 && a_second[2] <= 270, "{a_second:?}");
    assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(1)), "{delays:?}");
}
