//! Which pods have no job, by what their workers report in Redis.

use std::collections::{BTreeMap, BTreeSet};

use jobqueue_queue::WorkerStats;

/// The pods, by the last two polls; nothing if none has a worker, as with most queues most of the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdlePods(Option<Box<Pods>>);

/// Pods by host name.
#[derive(Debug, Clone)]
struct Pods {
    /// Runs ended, of every worker that was idle at the last poll.
    ended: BTreeMap<String, u64>,
    /// Pods that have workers.
    known: BTreeSet<String>,
    /// Pods whose workers were all idle at the last poll.
    idle: BTreeSet<String>,
    /// Those that did nothing since the poll before either: between two jobs a worker is idle for a moment.
    quiet: BTreeSet<String>,
}

impl IdlePods {
    /// Takes in what the workers report.
    pub(crate) fn observe(&mut self, workers: &[WorkerStats]) {
        if workers.is_empty() {
            *self = Self::default();
            return;
        }
        let hosts = |which: &dyn Fn(&WorkerStats) -> bool| -> BTreeSet<String> {
            workers.iter().filter(|worker| which(worker)).map(|worker| worker.hostname.clone()).collect()
        };
        let before = |name: &str| self.0.as_ref().and_then(|pods| pods.ended.get(name).copied());
        let did_nothing = |worker: &WorkerStats| !worker.is_busy() && before(&worker.name) == Some(worker.ended());
        // A pod may have several workers.
        let busy = hosts(&WorkerStats::is_busy);
        let active = hosts(&|worker| !did_nothing(worker));
        let all = hosts(&|_| true);
        let idle = all.difference(&busy).cloned().collect();
        let quiet = all.difference(&active).cloned().collect();
        let ended = workers.iter().filter(|worker| !worker.is_busy());
        let ended = ended.map(|worker| (worker.name.clone(), worker.ended())).collect();
        *self = Self(Some(Box::new(Pods { ended, known: all, idle, quiet })));
    }

    /// Whether a pod has a worker that reported.
    pub(crate) fn knows(&self, pod: &str) -> bool {
        self.0.as_ref().is_some_and(|pods| pods.known.contains(host(pod)))
    }

    /// Whether all workers of a pod were idle at the last poll.
    pub(crate) fn is_idle(&self, pod: &str) -> bool {
        self.0.as_ref().is_some_and(|pods| pods.idle.contains(host(pod)))
    }

    /// Whether all workers of a pod were idle at the last two polls, and did nothing in between.
    pub(crate) fn is_quiet(&self, pod: &str) -> bool {
        self.0.as_ref().is_some_and(|pods| pods.quiet.contains(host(pod)))
    }

    /// Whether no worker at all was busy at the last poll.
    pub(crate) fn all_idle(&self) -> bool {
        self.0.as_ref().is_none_or(|pods| pods.idle.len() == pods.known.len())
    }

    /// How many pods of a Deployment are quiet.
    pub(crate) fn count_quiet(&self, deployment: &str) -> u32 {
        self.0.as_ref().map_or(0, |pods| count_of(deployment, &pods.quiet))
    }

    /// How many pods of a Deployment have workers that report.
    pub(crate) fn count_known(&self, deployment: &str) -> u32 {
        self.0.as_ref().map_or(0, |pods| count_of(deployment, &pods.known))
    }
}

/// How many of these hosts are pods of a Deployment.
fn count_of(deployment: &str, hosts: &BTreeSet<String>) -> u32 {
    u32::try_from(hosts.iter().filter(|host| is_pod_of(host, deployment)).count()).unwrap_or(u32::MAX)
}

/// Whether a pod of this host name may be a Deployment's. A pod's name begins with that of the Deployment and a `-`; the API
/// server cuts what it begins with to 58 characters, and appends five by chance.
fn is_pod_of(host: &str, deployment: &str) -> bool {
    const BEGINNING: usize = 58;
    let beginning = format!("{deployment}-");
    match beginning.get(..BEGINNING) {
        Some(cut) if beginning.len() > BEGINNING => {
            host.strip_prefix(cut).is_some_and(|rest| rest.len() == 5 && rest.chars().all(char::is_alphanumeric))
        }
        _ => host.starts_with(&beginning),
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
            job_age: None,
        }
    }

    #[test]
    fn idle_between_two_jobs_is_not_quiet() {
        let mut idle = IdlePods::default();
        idle.observe(&[worker("a", "q-worker-1", "idle", 5)]);
        assert!(idle.is_idle("q-worker-1") && !idle.is_quiet("q-worker-1"), "seen once");
        idle.observe(&[worker("a", "q-worker-1", "idle", 5)]);
        assert!(idle.is_quiet("q-worker-1"));
        idle.observe(&[worker("a", "q-worker-1", "idle", 6)]);
        assert!(idle.is_idle("q-worker-1") && !idle.is_quiet("q-worker-1"), "it did something");
        idle.observe(&[worker("a", "q-worker-1", "busy", 6)]);
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
        let mut idle = IdlePods::default();
        idle.observe(&workers);
        idle.observe(&workers);
        assert!(!idle.is_idle("q-worker-1") && idle.is_quiet("q-worker-2"));
        assert_eq!(idle.count_quiet("q-worker"), 1);
    }

    /// Names as a cluster makes them: `<queue>-worker-<hash>-<five>`, cut before the five.
    #[test]
    fn pods_of_a_queue_with_a_long_name_are_counted() {
        for length in [1, 39, 40, 49, 50, 51, 52, 57, 63] {
            let deployment = format!("{}-worker", "q".repeat(length));
            let generated: String = format!("{deployment}-5d9c7b8f6d-").chars().take(58).collect();
            let mut idle = IdlePods::default();
            let workers = [worker("a", &format!("{generated}x7k2p"), "idle", 5), worker("b", "q-laptop", "idle", 5)];
            idle.observe(&workers);
            idle.observe(&workers);
            assert_eq!(idle.count_quiet(&deployment), 1, "{length} characters");
        }
    }

    #[test]
    fn long_names_are_cut_as_the_kubelet_does() {
        let name = format!("{}-{}", "a".repeat(62), "b".repeat(9));
        assert_eq!(host(&name), "a".repeat(62));
        assert_eq!(host("short"), "short");
    }
}
