//! Statuses that cannot be written, and an API server that asks for a pause: with the operator's own watches, pace and back-off.

use std::time::Duration;

use serde_json::json;

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, QUEUE, cluster_with_generation},
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
    let requests = || server.writes().len() + server.reads("");
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
