//! Which pods have nothing in hand, by what their workers leave in Redis.

use std::collections::{BTreeMap, BTreeSet};

use jobqueue_queue::WorkerStats;

/// What the last two looks say of the pods; nothing where none has a worker, as with most queues most of the time.
#[derive(Debug, Clone, Default)]
pub struct Idle(Option<Box<Pods>>);

/// Pods by host name.
#[derive(Debug, Clone)]
struct Pods {
    /// Runs ended, of every worker that was idle at the last look.
    ended: BTreeMap<String, u64>,
    /// Pods that have workers.
    known: BTreeSet<String>,
    /// Pods whose workers were all idle at the last look.
    resting: BTreeSet<String>,
    /// Those that did nothing since the look before either: between two jobs a worker is idle for a moment.
    quiet: BTreeSet<String>,
}

impl Idle {
    /// Takes one look in.
    pub fn look(&mut self, workers: &[WorkerStats]) {
        if workers.is_empty() {
            *self = Self::default();
            return;
        }
        let hosts = |which: &dyn Fn(&WorkerStats) -> bool| -> BTreeSet<String> {
            workers.iter().filter(|worker| which(worker)).map(|worker| worker.hostname.clone()).collect()
        };
        let before = |name: &str| self.0.as_ref().and_then(|pods| pods.ended.get(name).copied());
        let at_rest = |worker: &WorkerStats| !worker.is_busy() && before(&worker.name) == Some(worker.ended());
        // A pod may have several workers.
        let busy = hosts(&WorkerStats::is_busy);
        let restless = hosts(&|worker| !at_rest(worker));
        let all = hosts(&|_| true);
        let resting = all.difference(&busy).cloned().collect();
        let quiet = all.difference(&restless).cloned().collect();
        let ended = workers.iter().filter(|worker| !worker.is_busy());
        let ended = ended.map(|worker| (worker.name.clone(), worker.ended())).collect();
        *self = Self(Some(Box::new(Pods { ended, known: all, resting, quiet })));
    }

    /// Whether a pod has a worker that was seen.
    pub fn knows(&self, pod: &str) -> bool {
        self.0.as_ref().is_some_and(|pods| pods.known.contains(host(pod)))
    }

    /// Whether all workers of a pod were idle at the last look.
    pub fn is_idle(&self, pod: &str) -> bool {
        self.0.as_ref().is_some_and(|pods| pods.resting.contains(host(pod)))
    }

    /// Whether they did nothing since the look before.
    pub fn is_quiet(&self, pod: &str) -> bool {
        self.0.as_ref().is_some_and(|pods| pods.quiet.contains(host(pod)))
    }

    /// Whether no worker at all is busy.
    pub fn all_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|pods| pods.resting.len() == pods.known.len())
    }

    /// How many pods of a Deployment are quiet.
    pub fn quiet(&self, deployment: &str) -> u32 {
        let ours = |host: &&String| host.strip_prefix(deployment).is_some_and(|rest| rest.starts_with('-'));
        let count = self.0.as_ref().map_or(0, |pods| pods.quiet.iter().filter(ours).count());
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// A pod's host name: the kubelet cuts names that are longer than a host name may be.
fn host(pod: &str) -> &str {
    pod.get(..63).map_or(pod, |cut| cut.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn worker(name: &str, host: &str, state: &str, succeeded: u64) -> WorkerStats {
        WorkerStats {
            name: name.into(),
            hostname: host.into(),
            state: state.into(),
            concurrency: 1,
            running: 0,
            succeeded,
            failed: 0,
            busy_seconds: 0.0,
            silent_for: Duration::ZERO,
        }
    }

    #[test]
    fn idle_between_two_jobs_is_not_quiet() {
        let mut idle = Idle::default();
        idle.look(&[worker("a", "q-worker-1", "idle", 5)]);
        assert!(idle.is_idle("q-worker-1") && !idle.is_quiet("q-worker-1"), "seen once");
        idle.look(&[worker("a", "q-worker-1", "idle", 5)]);
        assert!(idle.is_quiet("q-worker-1"));
        idle.look(&[worker("a", "q-worker-1", "idle", 6)]);
        assert!(idle.is_idle("q-worker-1") && !idle.is_quiet("q-worker-1"), "it did something");
        idle.look(&[worker("a", "q-worker-1", "busy", 6)]);
        assert!(!idle.is_idle("q-worker-1"));
    }

    #[test]
    fn a_pod_is_as_busy_as_the_busiest_of_its_workers_and_others_pods_do_not_count() {
        let workers = [
            worker("a", "q-worker-1", "idle", 5),
            worker("b", "q-worker-1", "busy", 5),
            worker("c", "q-worker-2", "idle", 5),
            worker("d", "q-workers-laptop", "idle", 5),
        ];
        let mut idle = Idle::default();
        idle.look(&workers);
        idle.look(&workers);
        assert!(!idle.is_idle("q-worker-1") && idle.is_quiet("q-worker-2"));
        assert_eq!(idle.quiet("q-worker"), 1);
    }

    #[test]
    fn long_names_are_cut_as_the_kubelet_does() {
        let name = format!("{}-{}", "a".repeat(62), "b".repeat(9));
        assert_eq!(host(&name), "a".repeat(62));
        assert_eq!(host("short"), "short");
    }
}
