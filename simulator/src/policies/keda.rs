//! KEDA 2.20 with the HPA that it makes, as far as numbers of pods go; it sees the length of the list and nothing else.
//!
//! From zero and to zero is KEDA's operator (its documentation, "`ScaledObject` specification": `pollingInterval` 30 s,
//! `cooldownPeriod` 300 s; its `pkg/scaling/executor/scale_scaledobjects.go`). Between one and many is Kubernetes' HPA
//! ("Horizontal Pod Autoscaling" in Kubernetes' documentation; `GetExternalPerPodMetricReplicas` and
//! `normalizeDesiredReplicasWithBehaviors` in its `pkg/controller/podautoscaler`).

use std::collections::VecDeque;

use super::per_worker::shares;
use super::{ScalingPolicy, Snapshot};

/// How long the list must have been empty before the last pods go: KEDA's default, in seconds.
const COOLDOWN_SECONDS: f64 = 300.0;
/// Between two syncs of the HPA: `--horizontal-pod-autoscaler-sync-period`, in seconds.
const SYNC_SECONDS: f64 = 15.0;
/// A ratio this near to one changes nothing: `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// The highest recommendation within this time counts: the default `behavior.scaleDown`, in seconds.
const STABILIZATION_SECONDS: f64 = 300.0;
/// The default `behavior.scaleUp`: so many pods within a sync period, or as many as there were, whichever is more.
const PODS_ADDED: u32 = 4;

/// A `ScaledObject` for a Redis list, and its HPA.
#[derive(Debug)]
pub(crate) struct Keda {
    /// `listLength`: waiting jobs per pod.
    length: f64,
    least: u32,
    most: u32,
    polling_seconds: f64,
    next_poll: f64,
    next_sync: f64,
    last_active: Option<f64>,
    /// What the HPA would have liked within the last minutes, and when.
    recommended: VecDeque<(f64, u32)>,
    why: &'static str,
}

impl Keda {
    /// Polls every `polling_seconds`. The first poll and the first sync are after `poll` and `sync` of their periods,
    /// both between 0 and 1: when a burst comes they are anywhere in between.
    pub(crate) fn new(length: f64, (least, most): (u32, u32), polling_seconds: f64, (poll, sync): (f64, f64)) -> Self {
        Self {
            length,
            least,
            most,
            polling_seconds,
            next_poll: polling_seconds * poll,
            next_sync: SYNC_SECONDS * sync,
            last_active: None,
            recommended: VecDeque::new(),
            why: "",
        }
    }

    /// KEDA's operator: whether there is anything at all.
    fn poll(&mut self, now: f64, waiting: u64, current: u32) -> u32 {
        if waiting > 0 {
            self.last_active = Some(now);
            self.why = "KEDA: the list is no longer empty";
            return if current == 0 { self.least.max(1) } else { current };
        }
        let cooled = self.last_active.is_none_or(|at| at + COOLDOWN_SECONDS < now);
        if current > 0 && self.least == 0 && cooled {
            self.why = "KEDA: the list has been empty for the cooldown period";
            return 0;
        }
        current
    }

    /// The HPA: how many, where there are some.
    fn sync(&mut self, now: f64, waiting: u64, current: u32) -> u32 {
        let ratio = waiting as f64 / (self.length * f64::from(current));
        let recommended = if (ratio - 1.0).abs() <= TOLERANCE { current } else { shares(waiting, self.length) };
        self.recommended.retain(|(at, _)| now - at < STABILIZATION_SECONDS);
        self.recommended.push_back((now, recommended));
        let highest = self.recommended.iter().map(|(_, pods)| *pods).max().unwrap_or(recommended);
        let stable = if recommended < current { highest.min(current) } else { recommended };
        // A sync period is as long as the period of the policies, so that nothing else was added within one.
        let fastest = (current + PODS_ADDED).max(current * 2);
        self.why = "HPA: the list's length by the target";
        stable.min(fastest).clamp(self.least.max(1), self.most)
    }
}

impl ScalingPolicy for Keda {
    fn decide(&mut self, seen: Snapshot<'_>) -> u32 {
        let Snapshot { now, waiting, desired, .. } = seen;
        let mut pods = desired;
        if now >= self.next_poll {
            self.next_poll = after(self.next_poll, self.polling_seconds, now);
            pods = self.poll(now, waiting, pods);
        }
        if now >= self.next_sync {
            self.next_sync = after(self.next_sync, SYNC_SECONDS, now);
            // An HPA whose target has no pods is switched off.
            if pods > 0 {
                pods = self.sync(now, waiting, pods);
            }
        }
        pods
    }

    fn why(&self) -> String {
        self.why.into()
    }

    fn settles_within(&self) -> f64 {
        COOLDOWN_SECONDS + STABILIZATION_SECONDS + self.polling_seconds + SYNC_SECONDS
    }
}

/// The first of `first`, `first + period`, ... after `now`.
fn after(first: f64, period: f64, now: f64) -> f64 {
    first + period * (((now - first) / period).floor() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for at each of the times at which it changes, while `waiting` jobs wait until `until`.
    fn changes(keda: &mut Keda, waiting: impl Fn(f64) -> u64, seconds: u32) -> Vec<(f64, u32)> {
        let mut desired = 0;
        let mut changes = Vec::new();
        for quarter in 0..seconds * 4 {
            let now = f64::from(quarter) / 4.0;
            let seen = Snapshot { now, waiting: waiting(now), running: 0, oldest_wait: None, desired, pods: &[] };
            let pods = keda.decide(seen);
            if pods != desired {
                desired = pods;
                changes.push((now, pods));
            }
        }
        changes
    }

    /// As measured on a cluster: 1,000 elements, 10 per pod, at most 20 pods, polled every second, it asked for the first
    /// after 1.0 s and for 20 after 46.7 s; with the defaults after 17.9 and 63.3 s.
    #[test]
    fn it_grows_as_it_was_measured_to() {
        let mut tuned = Keda::new(10.0, (0, 20), 1.0, (0.9, 0.05));
        assert_eq!(changes(&mut tuned, |_| 1000, 120), [(1.0, 1), (15.75, 5), (30.75, 10), (45.75, 20)]);
        let mut default = Keda::new(10.0, (0, 20), 30.0, (0.6, 0.1));
        assert_eq!(changes(&mut default, |_| 1000, 120), [(18.0, 1), (31.5, 5), (46.5, 10), (61.5, 20)]);
    }

    #[test]
    fn it_goes_to_zero_after_the_cooldown_and_shrinks_after_the_window() {
        let list = |now: f64| if now < 100.0 { 1000 } else { 0 };
        let mut keda = Keda::new(10.0, (0, 20), 1.0, (0.0, 0.05));
        assert_eq!(changes(&mut keda, list, 600).last(), Some(&(400.0, 0)));
        let few = |now: f64| if now < 100.0 { 1000 } else { 5 };
        let mut keda = Keda::new(10.0, (0, 20), 1.0, (0.0, 0.05));
        assert_eq!(changes(&mut keda, few, 600).last(), Some(&(390.75, 1)));
    }
}
