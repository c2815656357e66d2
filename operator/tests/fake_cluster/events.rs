//! Events as `kubectl describe` looks for them, and what they have room for.

use jobqueue_operator::LeaseGuard;
use serde_json::{Value, json};

use crate::fixture::{Operator, QUEUE, away, cluster, pod, reconcile_and_poll, waiting};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// `kubectl describe` asks for events of this uid, `kubectl events --for` for those of this name, kind and group.
#[tokio::test(start_paused = true)]
async fn every_event_is_of_the_object_and_not_of_its_name_only() {
    let server = cluster();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    for _ in 0..3 {
        operator.poll(Err(&away())).await;
    }
    operator.reconcile(&server).await;
    let events = server.events();
    let of = |reason: &str| events.iter().filter(|event| text(event, "reason") == reason).count();
    assert_eq!([of("ScaledUp"), of("Unreachable")], [1, 1], "{events:#?}");
    let uid = server.get(QUEUE).unwrap()["metadata"]["uid"].clone();
    for event in &events {
        let about = &event["regarding"];
        assert_eq!(about["uid"], uid, "{event:#}");
        let names = ["apiVersion", "kind", "namespace", "name"].map(|field| text(about, field));
        assert_eq!(names, ["jobqueue.dev/v1alpha1", "JobQueue", "shop", "lines"]);
        assert!(text(about, "resourceVersion").parse::<u64>().is_ok(), "{event:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_note_has_as_many_bytes_as_there_is_room_for() {
    let server = cluster();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "数".repeat(600)}]});
    server.put("/api/v1/namespaces/shop/pods/p", pod("p", &unscheduled));
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    let events = server.events();
    let event = events.iter().find(|event| text(event, "reason") == "Unschedulable").unwrap();
    let note = text(event, "note");
    assert!(note.starts_with("pod p finds no node: 数"), "{note}");
    assert!((1022..=1024).contains(&note.len()), "{} bytes", note.len());
}
