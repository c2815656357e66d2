//! Events: one for each transition of a condition that a person cares about, one for each change of the number of workers.

use std::sync::{Arc, Mutex, PoisonError};

use jobqueue_crds::ConditionType;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use tokio::sync::Semaphore;

use crate::{
    kube_client::{FIELD_MANAGER, NotLeading},
    status::text::beginning,
};

/// Conditions whose transitions are news; the others move with every rollout and scaling, which have their own events.
const NEWS: [ConditionType; 7] = [
    ConditionType::Stalled,
    ConditionType::QueueReachable,
    ConditionType::DatabaseReachable,
    ConditionType::Ready,
    ConditionType::ScalingLimited,
    ConditionType::Paused,
    ConditionType::Degraded,
];

/// The longest note that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Events that one recorder writes before another takes over.
const REMEMBERED: usize = 500;

/// Events that are written at once: numbers of workers and statuses go first.
const CONCURRENCY: usize = 4;

/// Writes events.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    reporter: Reporter,
    recorder: Arc<Mutex<(Recorder, usize)>>,
    permits: Arc<Semaphore>,
}

impl Events {
    /// As the operator process `instance`.
    pub(crate) fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: Some(instance.into()) };
        let recorder = Arc::new(Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0)));
        Self { client, reporter, recorder, permits: Arc::new(Semaphore::new(CONCURRENCY)) }
    }

    /// Writes events of transitions. What several conditions have in common is written once.
    pub(crate) async fn transitions(&self, object: &ObjectReference, changed: &[&Condition]) {
        let mut written: Vec<(&str, &str)> = Vec::new();
        for kind in NEWS {
            let name = kind.to_string();
            let Some(condition) = changed.iter().find(|condition| condition.type_ == name) else { continue };
            let news = (condition.reason.as_str(), condition.message.as_str());
            if !written.contains(&news) {
                written.push(news);
                let (reason, message) = news;
                self.write(object, severity(kind, condition), reason, &name, message).await;
            }
        }
    }

    /// Writes an event of a new number of workers. The action differs with the number: events that differ only in their note would
    /// be counted as one.
    pub(crate) async fn scaled(&self, object: &ObjectReference, from: u32, to: u32, message: &str) {
        let note = format!("{from} -> {to} workers: {message}");
        let reason = if to > from { "ScaledUp" } else { "ScaledDown" };
        self.write(object, EventType::Normal, reason, &format!("ScaleTo{to}"), &note).await;
    }

    /// A recorder keeps what it wrote for minutes, to count repetitions: with thousands of queues more than all else.
    fn recorder(&self) -> Recorder {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        if recorder.1 >= REMEMBERED {
            *recorder = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        recorder.1 += 1;
        recorder.0.clone()
    }

    async fn write(&self, object: &ObjectReference, type_: EventType, reason: &str, action: &str, note: &str) {
        let note = Some(beginning(note, LONGEST_NOTE));
        let event = Event { type_, reason: reason.into(), note, action: action.into(), secondary: None };
        let Ok(_permit) = self.permits.acquire().await else { return };
        let recorder = self.recorder();
        match recorder.publish(&event, object).await {
            Err(kube::Error::Service(error)) if error.is::<NotLeading>() => {}
            // An event is a courtesy: nothing waits for it, and nothing fails for it.
            Err(error) => tracing::warn!(%error, reason, "an event could not be written"),
            Ok(()) => {}
        }
    }
}

fn severity(kind: ConditionType, condition: &Condition) -> EventType {
    let bad = match kind {
        ConditionType::Stalled | ConditionType::Degraded => "True",
        ConditionType::Paused | ConditionType::ScalingLimited => return EventType::Normal,
        _ => "False",
    };
    if condition.status == bad { EventType::Warning } else { EventType::Normal }
}
