//! Which pods have no job, by what their workers report in Redis.

use jobqueue_queue::WorkerStats;

use crate::digest::fingerprint;

/// The pods, by the last two polls; nothing if none has a worker, as with most queues most of the time. Of names only
/// fingerprints are kept: whoever writes into a queue's Redis chooses them.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdlePods(Option<Box<Pods>>);

#[derive(Debug, Clone)]
struct Pods {
    /// Runs ended, of every worker that was idle at the last poll, in the order of their names' fingerprints.
    ended: Box<[(u64, u64)]>,
    /// Hosts that have workers, in the order of their fingerprints.
    hosts: Box<[Host]>,
}

/// A host that has workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    fingerprint: u64,
    /// The least that one of its workers is: a pod may have several.
    rest: Rest,
    /// Its name is one of the Deployment's pods.
    is_ours: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// A worker is at work.
    Busy,
    /// All were idle at the last poll.
    Idle,
    /// And did nothing since the poll before: between two jobs a worker is idle for a moment.
    Quiet,
}

impl IdlePods {
    /// Takes in what the workers report; `deployment` is the name of the queue's own.
    pub(crate) fn observe(&mut self, workers: &[WorkerStats], deployment: &str) {
        if workers.is_empty() {
            *self = Self::default();
            return;
        }
        let before = |name: u64| {
            let ended = &self.0.as_ref()?.ended;
            ended.binary_search_by_key(&name, |(name, _)| *name).ok().map(|at| ended[at].1)
        };
        let mut ended = Vec::new();
        let mut hosts = Vec::with_capacity(workers.len());
        for worker in workers {
            let name = fingerprint(&worker.name);
            let rest = match before(name) {
                _ if worker.is_busy() => Rest::Busy,
                Some(before) if before == worker.ended() => Rest::Quiet,
                _ => Rest::Idle,
            };
            if rest != Rest::Busy {
                ended.push((name, worker.ended()));
            }
            let (fingerprint, is_ours) = (fingerprint(&worker.hostname), is_pod_of(&worker.hostname, deployment));
            hosts.push(Host { fingerprint, rest, is_ours });
        }
        ended.sort_unstable();
        // The busiest worker of a host comes first, and stands for it.
        hosts.sort_unstable();
        hosts.dedup_by_key(|host| host.fingerprint);
        *self = Self(Some(Box::new(Pods { ended: ended.into(), hosts: hosts.into() })));
    }

    fn host(&self, pod: &str) -> Option<Host> {
        let (hosts, name) = (&self.0.as_ref()?.hosts, fingerprint(host(pod)));
        hosts.binary_search_by_key(&name, |host| host.fingerprint).ok().map(|at| hosts[at])
    }

    fn hosts(&self) -> &[Host] {
        self.0.as_ref().map_or(&[], |pods| &pods.hosts)
    }

    /// Whether a pod has a worker that reported.
    pub(crate) fn knows(&self, pod: &str) -> bool {
        self.host(pod).is_some()
    }

    /// Whether all workers of a pod were idle at the last poll.
    pub(crate) fn is_idle(&self, pod: &str) -> bool {
        self.host(pod).is_some_and(|host| host.rest >= Rest::Idle)
    }

    /// Whether all workers of a pod were idle at the last two polls, and did nothing in between.
    pub(crate) fn is_quiet(&self, pod: &str) -> bool {
        self.host(pod).is_some_and(|host| host.rest == Rest::Quiet)
    }

    /// Whether no worker at all was busy at the last poll.
    pub(crate) fn all_idle(&self) -> bool {
        self.hosts().iter().all(|host| host.rest >= Rest::Idle)
    }

    /// How many pods of the Deployment are quiet.
    pub(crate) fn count_quiet(&self) -> u32 {
        self.count(|host| host.rest == Rest::Quiet)
    }

    /// How many pods of the Deployment have workers that report.
    pub(crate) fn count_known(&self) -> u32 {
        self.count(|_| true)
    }

    fn count(&self, which: impl Fn(&Host) -> bool) -> u32 {
        let count = self.hosts().iter().filter(|host| host.is_ours && which(host)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
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
    use super::*;
    use crate::state::testing;

    const DEPLOYMENT: &str = "q-worker";

    fn worker(name: &str, host: &str, state: &str, succeeded: u64) -> WorkerStats {
        WorkerStats { hostname: host.into(), state: state.into(), ..testing::worker(name, succeeded, 0) }
    }

    #[test]
    fn idle_between_two_jobs_is_not_quiet() {
        let mut idle = IdlePods::default();
        idle.observe(&[worker("a", "q-worker-1", "idle", 5)], DEPLOYMENT);
        assert!(idle.is_idle("q-worker-1") && !idle.is_quiet("q-worker-1"), "seen once");
        idle.observe(&[worker("a", "q-worker-1", "idle", 5)], DEPLOYMENT);
        assert!(idle.is_quiet("q-worker-1"));
        idle.observe(&[worker("a", "q-worker-1", "idle", 6)], DEPLOYMENT);
        assert!(idle.is_idle("q-worker-1") && !idle.is_quiet("q-worker-1"), "it did something");
        idle.observe(&[worker("a", "q-worker-1", "busy", 6)], DEPLOYMENT);
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
        idle.observe(&workers, DEPLOYMENT);
        idle.observe(&workers, DEPLOYMENT);
        assert!(!idle.is_idle("q-worker-1") && idle.is_quiet("q-worker-2"));
        assert_eq!(idle.count_quiet(), 1);
    }

    /// Names as a cluster makes them: `<queue>-worker-<hash>-<five>`, cut before the five.
    #[test]
    fn pods_of_a_queue_with_a_long_name_are_counted() {
        for length in [1, 39, 40, 49, 50, 51, 52, 57, 63] {
            let deployment = format!("{}-worker", "q".repeat(length));
            let generated: String = format!("{deployment}-5d9c7b8f6d-").chars().take(58).collect();
            let mut idle = IdlePods::default();
            let workers = [worker("a", &format!("{generated}x7k2p"), "idle", 5), worker("b", "q-laptop", "idle", 5)];
            idle.observe(&workers, &deployment);
            idle.observe(&workers, &deployment);
            assert_eq!(idle.count_quiet(), 1, "{length} characters");
        }
    }

    #[test]
    fn long_names_are_cut_as_the_kubelet_does() {
        let name = format!("{}-{}", "a".repeat(62), "b".repeat(9));
        assert_eq!(host(&name), "a".repeat(62));
        assert_eq!(host("short"), "short");
    }
}
