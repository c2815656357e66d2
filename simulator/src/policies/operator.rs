//! The manifest's own rules: the same meter and the same decision, fed with the same numbers, as in the operator.

use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_scaling::{
    Backlog, Calendar, Decision, Memory, Meter, Observation, Policy, Rates, Sample, WorkerCounters, Workers,
};

use super::{ScalingPolicy, Snapshot};
use crate::fleet::{Pod, ScaleDownOrder};

/// What a start may be measured to take, in seconds: workers are kept for so long where nothing else is said.
const LONGEST_START: f64 = 600.0;

/// The decision of the `scaling` crate.
#[derive(Debug)]
pub(crate) struct OperatorPolicy {
    policy: Policy,
    calendar: Calendar,
    /// The moment at which the run starts.
    start: DateTime<Utc>,
    protect_busy: bool,
    memory: Memory,
    meter: Meter,
    decision: Option<Decision>,
    rates: Rates,
}

impl OperatorPolicy {
    /// With an empty memory; the run starts at `start`.
    pub(crate) fn new(policy: Policy, protect_busy: bool, calendar: Calendar, start: DateTime<Utc>) -> Self {
        let (memory, meter) = (Memory::default(), Meter::default());
        Self { policy, calendar, start, protect_busy, memory, meter, decision: None, rates: Rates::default() }
    }

    /// `now` by the calendar, to a millisecond; none where that ends.
    fn moment(&self, now: f64) -> Option<DateTime<Utc>> {
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let passed = TimeDelta::try_milliseconds((now * 1000.0).round() as i64)?;
        self.start.checked_add_signed(passed)
    }
}

/// What a pod's worker has in its record.
fn record(pod: &Pod) -> (&str, WorkerCounters) {
    let Pod { completed, worked_seconds, .. } = *pod;
    let (busy, slots, in_hand) = (pod.is_busy(), pod.slots(), pod.in_hand());
    let counters = WorkerCounters { completed, busy, worked_seconds, slots, in_hand, ..WorkerCounters::default() };
    (pod.name.as_str(), counters)
}

impl ScalingPolicy for OperatorPolicy {
    fn decide(&mut self, seen: Snapshot<'_>) -> u32 {
        let Snapshot { now, waiting, running, oldest_wait, desired, pods } = seen;
        if let Some(moment) = self.moment(now) {
            self.policy.bounds = self.calendar.at(moment);
        } else {
            // Where the calendar ends, so do schedules.
            (self.policy.bounds, self.calendar) = Default::default();
        }
        let started = pods.iter().filter(|pod| pod.has_started());
        let rates = self.meter.sample(Sample { now, waiting, running, workers: started.map(record).collect() });
        self.rates = rates;
        let workers = Workers {
            desired,
            ready: number(pods.iter().filter(|pod| pod.is_ready()).count()),
            busy: number(pods.iter().filter(|pod| pod.is_busy()).count()),
        };
        let backlog = Some(Backlog { waiting, running, oldest_wait_seconds: oldest_wait });
        let seen = Observation { now, backlog, workers, rates, troubled: 0 };
        let decision = self.memory.decide(&self.policy, &seen);
        let replicas = decision.replicas;
        self.decision = Some(decision);
        replicas
    }

    fn why(&self) -> String {
        self.decision.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn decision(&self) -> Option<(&Decision, &Rates)> {
        Some((self.decision.as_ref()?, &self.rates))
    }

    fn scale_down_order(&self) -> ScaleDownOrder {
        if self.protect_busy { ScaleDownOrder::IdleOnly } else { ScaleDownOrder::IdleFirst }
    }

    fn settles_within(&self) -> f64 {
        let Policy { idle_seconds, scale_up, scale_down, targets, .. } = &self.policy;
        // What comes at regular times may be foretold.
        if targets.max_wait_seconds.is_some() || targets.drain_seconds.is_some() {
            return f64::INFINITY;
        }
        let seconds = [*idle_seconds, scale_up.stabilization_seconds, scale_down.stabilization_seconds];
        let measured = if seconds.contains(&None) { LONGEST_START } else { 0.0 };
        seconds.into_iter().flatten().sum::<f64>() + measured + 60.0
    }

    fn changes_at(&self) -> f64 {
        self.calendar.until().map_or(f64::INFINITY, |change| (change - self.start).as_seconds_f64())
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
