//! What a leader does: it reconciles and scales the queues until its term is over.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jobqueue_queue::{Guard, QueueError, QueueStats};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Client, Resource, core::PartialObjectMeta, runtime::watcher::Event};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    autoscaler::{Autoscaler, Change, executor::Executor, write_priority::WritePriority},
    liveness::Liveness,
    metrics::Metrics,
    reconciler::{
        compact_object::GuardedJobQueue, context::Context, controller, error::Error, reconcile, rollouts::Rollouts,
        secrets::RecentSecrets, worker_defaults::WorkerDefaults,
    },
    scope::Scope,
    state::{
        key::{self, Key},
        owned_objects::OwnedKind,
        owners::Owners,
    },
    status::{competing_scalers::CompetingScalers, events::Events, writer::StatusWriter},
    traces::Traces,
};

/// How long what is under way at the end of a term may take.
const ENDING: Duration = Duration::from_secs(10);

/// What is the same in every term.
#[derive(Clone)]
pub struct Settings {
    /// For everything but numbers of workers; writes need the lease.
    pub client: Client,
    /// For numbers of workers, which have connections of their own and wait for nothing else; writes need the lease.
    pub scaling_client: Client,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The name of this operator in events.
    pub identity: String,
    /// The namespaces that are served.
    pub scope: Scope,
    /// What is the same for the workers of all queues.
    pub workers: WorkerDefaults,
    /// Where passwords in files are, by namespace; `None` without any.
    pub password_directory: Option<PathBuf>,
    /// The most queues whose workers are replaced at once because the operator changed.
    pub max_rollouts: usize,
    /// The pause between two polls of Redis.
    pub poll_interval: Duration,
    /// This process runs in the cluster, and can resolve the names of its Services.
    pub in_cluster: bool,
    /// Which Redis servers may be polled, and how much they may answer.
    pub guard: Guard,
    /// Whether the loops of the term go on.
    pub liveness: Liveness,
    /// Where spans are made.
    pub traces: Traces,
}

impl Settings {
    /// Serves one term after the other, as often as `leading` becomes true, until `stop`.
    pub async fn serve_terms(self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                elected = async { leading.wait_for(|leads| *leads).await.is_ok() } => if !elected { return },
            }
            self.metrics.leading.set(1);
            let over = stop.child_token();
            let mut term = std::pin::pin!(Term::begin(&self).run(over.clone()));
            let ended = tokio::select! {
                () = &mut term => true,
                _ = async { leading.wait_for(|leads| !leads).await.is_ok() } => {
                    // Writes are refused from now on.
                    over.cancel();
                    false
                }
                () = over.cancelled() => false,
            };
            // What is under way ends by itself, unless it waits for an API server that does not answer.
            if !ended && tokio::time::timeout(ENDING, term).await.is_err() {
                tracing::warn!("the API server does not answer what this operator asked as the leader; it is given up");
            }
            self.metrics.leading.set(0);
            self.metrics.forget_queues();
        }
    }
}

/// One term. It begins with nothing in memory: what counts is in the cluster and in Redis.
pub struct Term {
    context: Arc<Context>,
    autoscaler: Autoscaler,
    /// The reconciles that the autoscaler requests.
    requests: mpsc::UnboundedReceiver<Key>,
}

impl Term {
    /// A term with no queue yet.
    pub fn begin(settings: &Settings) -> Self {
        let Settings {
            client,
            scaling_client,
            metrics,
            identity,
            scope,
            workers,
            password_directory,
            poll_interval,
            in_cluster,
            max_rollouts,
            guard,
            liveness,
            traces,
        } = settings.clone();
        let Owners { reconciler, autoscaler, status, registry } = Owners::new();
        metrics.follow(&registry);
        let events = Events::new(client.clone(), &identity);
        let write_priority = Arc::new(WritePriority::default());
        let (request, requests) = mpsc::unbounded_channel();
        let executor = Executor {
            client: scaling_client,
            events: events.clone(),
            state: autoscaler.clone(),
            metrics: metrics.clone(),
            write_priority: write_priority.clone(),
            requests: request,
            traces: traces.clone(),
        };
        let autoscaler = Autoscaler {
            state: autoscaler,
            executor,
            metrics: metrics.clone(),
            write_priority: write_priority.clone(),
            interval: poll_interval,
            guard,
            liveness: liveness.clone(),
        };
        let context = Context {
            client: client.clone(),
            state: reconciler,
            status: StatusWriter { client, events, state: status },
            metrics,
            write_priority,
            workers,
            in_cluster,
            password_directory,
            scope,
            competing_scalers: CompetingScalers::default(),
            secrets: RecentSecrets::default(),
            liveness,
            rollouts: Rollouts::new(max_rollouts),
            traces,
        };
        Self { context: Arc::new(context), autoscaler, requests }
    }

    /// Reconciles and scales until the term is `over`.
    pub(crate) async fn run(self, over: CancellationToken) {
        let Self { context, autoscaler, requests } = self;
        let requests = futures::stream::unfold(requests, |mut requests| async {
            requests.recv().await.map(|key| (key, requests))
        });
        let reconciles = controller::run(context, requests, over.clone());
        tokio::join!(reconciles, autoscaler.run(over.clone()));
    }
}

/// The steps of a term one by one, for tests of the whole operator against an API server in memory.
impl Term {
    /// Reconciles one object.
    pub async fn reconcile(&self, object: &GuardedJobQueue) -> Result<(), Error> {
        reconcile(&key::of(object), object, &self.context).await.map(drop)
    }

    /// Takes in what Redis answers for one queue, `now` seconds after any fixed moment. Returns the change of the number of
    /// workers that it calls for; `None` if the number stays.
    pub fn evaluate(&self, key: &Key, now: f64, answer: Result<&QueueStats, &QueueError>) -> Option<Change> {
        self.autoscaler.evaluate(key, now, answer)
    }

    /// Writes a change that a poll begun at `polled_at` called for.
    pub async fn execute(&self, key: &Key, change: Change, polled_at: Instant) {
        self.autoscaler.executor.execute(key, change, polled_at).await;
    }

    /// The next reconcile that the autoscaler requested; `None` if there is none now.
    pub fn next_request(&mut self) -> Option<Key> {
        self.requests.try_recv().ok()
    }

    /// Takes in an event of the watch of the Deployments.
    pub fn cache_deployment(&self, event: &Event<Deployment>) {
        self.context.state.cache_deployment(event);
    }

    /// Takes in an event of a watch of what queues have beside their Deployments; returns the queues that lack something now.
    pub fn observe_owned<K>(&self, kind: OwnedKind, event: &Event<PartialObjectMeta<K>>) -> Vec<Key>
    where
        PartialObjectMeta<K>: Resource,
    {
        self.context.state.observe_owned(kind, event)
    }

    /// By which `policy` the queue's Redis evicts keys; `None` if it evicts none.
    pub fn record_eviction_policy(&self, key: &Key, policy: Option<&str>) {
        self.autoscaler.record_eviction_policy(key, policy);
    }

    /// Whether a queue is served.
    pub fn serves(&self, key: &Key) -> bool {
        self.context.state.serves(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::reconciler::work_queue::Return;
    use crate::state::{key::Uid, owners::PollTarget, spec::Initial, testing::spec};

    /// A term with an API server that answers nothing but errors, and counts the requests.
    fn term(asked: &Arc<AtomicUsize>) -> Term {
        let asked = asked.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            asked.fetch_add(1, Ordering::SeqCst);
            let answer = Response::builder().status(500).body(Body::empty());
            async move { answer }
        });
        let client = Client::new(service, "shop");
        Term::begin(&Settings {
            scaling_client: client.clone(),
            client,
            metrics: Metrics::new(),
            identity: "operator-0".into(),
            scope: Scope::default(),
            workers: WorkerDefaults::new("worker:1"),
            password_directory: None,
            max_rollouts: 1,
            poll_interval: Duration::from_millis(250),
            in_cluster: false,
            guard: Guard::default(),
            liveness: Liveness::default(),
            traces: Traces::default(),
        })
    }

    fn object(generation: i64) -> GuardedJobQueue {
        let redis = json!({"urlSecretKeyRef": {"name": "s", "key": "url"}});
        let spec = json!({"queue": {"names": ["q"], "redis": redis}, "worker": {"image": "w:1"}});
        let metadata = json!({"name": "q", "namespace": "shop", "uid": "u", "generation": generation});
        let object =
            json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": metadata, "spec": spec});
        serde_json::from_value(object).expect("an object")
    }

    /// As a mistake of ours would be: with the state locked.
    #[tokio::test(start_paused = true)]
    async fn panics_in_the_polls_of_one_redis_leave_the_loop_and_the_other_queues_as_they_were() {
        let Term { context, autoscaler, .. } = term(&Arc::default());
        for name in ["bad", "good"] {
            let spec = spec(&format!("redis://{name}:6379/0"));
            context.state.serve(&Key::new(name), Uid::from(name), spec, Initial::default());
        }
        let (state, polls) = (autoscaler.state.clone(), Arc::new([const { AtomicUsize::new(0) }; 2]));
        let counted = polls.clone();
        let poll = move |_, queues: Vec<PollTarget>| {
            let (state, counted) = (state.clone(), counted.clone());
            async move {
                for target in queues {
                    let is_bad = target.key.name == "bad";
                    counted[usize::from(is_bad)].fetch_add(1, Ordering::SeqCst);
                    let served = state.update(&target.key, |_| assert!(!is_bad, "a panic on purpose"));
                    assert!(served.is_some());
                }
            }
        };
        let stop = CancellationToken::new();
        let running = autoscaler.take_turns(poll, stop.clone());
        let ((), ended) = tokio::join!(running, async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let hung = context.liveness.hung();
            stop.cancel();
            hung
        });
        assert_eq!(ended, None, "the loop beats");
        let polls = polls.each_ref().map(|polls| polls.load(Ordering::SeqCst));
        assert!(polls.iter().all(|polls| (40..=41).contains(polls)), "every 250 ms, good and bad: {polls:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_does_not_bypass_the_wait_after_a_failure() {
        let asked = Arc::new(AtomicUsize::new(0));
        let context = term(&asked).context;
        let wake = async |generation| {
            let object = object(generation);
            let next = controller::reconcile_object(&key::of(&object), object, &context).await;
            (asked.swap(0, Ordering::SeqCst) > 0, next.expect("it comes back by itself"))
        };
        assert!(wake(1).await.0, "the API server is asked");
        assert!(!wake(1).await.0, "whatever woke it");
        let (is_asked, next) = wake(2).await;
        assert!(is_asked, "a changed object does not wait");
        let Return::Retry(wait) = next else { panic!("{next:?}") };
        assert!(!wake(2).await.0);
        tokio::time::advance(wait).await;
        assert!(wake(2).await.0, "its time has come");
    }
}
