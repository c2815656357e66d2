//! The manifest's own rules: the same meter and the same decision, fed with the same numbers, as in the operator.

use chrono::{DateTime, Utc};
use jobqueue_scaling::{
    Backlog, Decision, Memory, Meter, Observation, Policy, Sample, Schedule, WorkerCounters, Workers, decide,
};

use super::agenda::Agenda;
use super::{Foreman, Seen};
use crate::simulate::fleet::{Goers, Pod};

/// The decision of the `scaling` crate.
#[derive(Debug)]
pub(crate) struct Ours {
    policy: Policy,
    agenda: Agenda,
    protect_busy: bool,
    memory: Memory,
    meter: Meter,
    decision: Option<Decision>,
}

impl Ours {
    /// With an empty memory; the run starts at `start`.
    pub(crate) fn new(policy: Policy, protect_busy: bool, schedules: Vec<Schedule>, start: DateTime<Utc>) -> Self {
        let agenda = Agenda::new(schedules, start);
        Self { policy, agenda, protect_busy, memory: Memory::default(), meter: Meter::default(), decision: None }
    }
}

impl Foreman for Ours {
    fn look(&mut self, seen: Seen<'_>) -> u32 {
        let Seen { now, waiting, running, oldest_wait, desired, pods } = seen;
        if let Some(bounds) = self.agenda.news(now) {
            self.policy.bounds = bounds;
        }
        let started = pods.iter().filter(|pod| pod.has_started());
        let record = |pod: &Pod| {
            let Pod { completed, worked_seconds, .. } = *pod;
            let counters = WorkerCounters { completed, busy: pod.is_busy(), worked_seconds };
            (pod.name.clone(), counters)
        };
        let rates = self.meter.sample(Sample { now, waiting, running, workers: started.map(record).collect() });
        let workers = Workers {
            desired,
            ready: number(pods.iter().filter(|pod| pod.is_ready()).count()),
            busy: number(pods.iter().filter(|pod| pod.is_busy()).count()),
        };
        let backlog = Some(Backlog { waiting, running, oldest_wait_seconds: oldest_wait });
        let (decision, memory) =
            decide(&self.policy, &Observation { now, backlog, workers, rates, troubled: 0 }, &self.memory);
        self.memory = memory;
        let replicas = decision.replicas;
        self.decision = Some(decision);
        replicas
    }

    fn why(&self) -> String {
        self.decision.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn goers(&self) -> Goers {
        if self.protect_busy { Goers::IdleOnly } else { Goers::IdleFirst }
    }

    fn settles_within(&self) -> f64 {
        let Policy { idle_seconds, scale_up, scale_down, .. } = &self.policy;
        idle_seconds + scale_up.stabilization_seconds + scale_down.stabilization_seconds + 60.0
    }

    fn changes_at(&self) -> f64 {
        self.agenda.until
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
