//! Runs every scenario with every policy.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use chrono::{DateTime, FixedOffset};
use jobqueue_scaling::{Calendar, Policy};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::bound::bound;
use super::policies::{Fixed, Keda, OperatorPolicy, PerWorker, ScalingPolicy};
use super::report::{BoundSummary, Finding, Report, Row};
use super::scenario::Scenario;

/// The stream of random numbers from which the phases of KEDA and HPA come.
const PHASES: u64 = 3;
/// KEDA's default polling interval, in seconds.
const KEDA_POLLING_SECONDS: f64 = 30.0;

/// The scaling section of one manifest.
#[derive(Debug, Clone)]
pub struct ManifestScaling {
    /// What `ours` is called in the report.
    pub title: String,
    /// The rules.
    pub policy: Policy,
    /// The schedules.
    pub calendar: Calendar,
    /// Whether pods with jobs in hand are kept (`scaleDown.protectBusy`).
    pub protect_busy: bool,
}

/// What to run: every scenario with every policy.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// One for each manifest, at least one: `ours` is run with each, and the others have the bounds of the first.
    pub manifests: Vec<ManifestScaling>,
    /// The policies, in the order of the report.
    pub policies: Vec<PolicyName>,
    /// The scenarios, in the order of the report.
    pub scenarios: Vec<Scenario>,
    /// The moment at which every run starts, for schedules.
    pub start: DateTime<FixedOffset>,
    /// The seed of all random numbers.
    pub seed: u64,
}

/// A policy by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyName {
    /// The manifest's.
    Ours,
    /// Always so many workers; `None`: `maxReplicas`.
    Fixed(Option<u32>),
    /// KEDA with its defaults.
    Keda,
    /// KEDA polling every second.
    KedaTuned,
    /// The list's length divided by a number.
    PerWorker,
    /// No policy: the least that any could have spent.
    Bound,
}

impl PolicyName {
    /// All six.
    pub const ALL: [Self; 6] =
        [Self::Ours, Self::Fixed(None), Self::Keda, Self::KedaTuned, Self::PerWorker, Self::Bound];
}

impl FromStr for PolicyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ours" => Ok(Self::Ours),
            "fixed" => Ok(Self::Fixed(None)),
            "keda" => Ok(Self::Keda),
            "keda-1s" => Ok(Self::KedaTuned),
            "per-worker" => Ok(Self::PerWorker),
            "bound" => Ok(Self::Bound),
            _ => {
                let workers = text.strip_prefix("fixed:").and_then(|workers| workers.parse().ok());
                let policy = workers.map(|workers| Self::Fixed(Some(workers)));
                policy.ok_or_else(|| "it is one of ours, fixed, fixed:N, keda, keda-1s, per-worker, bound".into())
            }
        }
    }
}

impl Comparison {
    /// Runs all of them, on as many threads as there are cores; the order of the report does not depend on that.
    pub fn run(&self) -> Report {
        self.run_unless(&AtomicBool::new(false)).expect("nobody stops it")
    }

    /// The same; `None` if it was told to stop meanwhile. A bound is computed to its end.
    pub fn run_unless(&self, stop: &AtomicBool) -> Option<Report> {
        let manifests =
            |policy: PolicyName| if policy == PolicyName::Ours { &self.manifests[..] } else { &self.manifests[..1] };
        let rules =
            self.policies.iter().flat_map(|policy| manifests(*policy).iter().map(move |manifest| (*policy, manifest)));
        let runs: Vec<_> =
            self.scenarios.iter().flat_map(|scenario| rules.clone().map(move |rule| (scenario, rule))).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut rows = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((scenario, (policy, manifest))) = runs.get(number) else { return rows };
                rows.push((number, self.row(scenario, *policy, manifest, stop)));
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(runs.len().max(1));
        let mut rows: Vec<(usize, Option<Row>)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
        });
        rows.sort_by_key(|(number, _)| *number);
        let rows = rows.into_iter().map(|(_, row)| row).collect::<Option<Vec<Row>>>()?;
        Some(Report { seed: self.seed, start: self.start, rows })
    }

    /// What came of one; `None` if it was stopped.
    fn row(
        &self,
        scenario: &Scenario,
        policy: PolicyName,
        manifest: &ManifestScaling,
        stop: &AtomicBool,
    ) -> Option<Row> {
        let Scenario { name, simulation, list_length, target } = scenario;
        let (policy, finding) = if let Some((title, mut policy)) = self.policy(policy, manifest, *list_length) {
            (title, Finding::Run(Box::new(simulation.run_unless(policy.as_mut(), stop)?)))
        } else {
            let bound = bound(simulation, *target, manifest.policy.max_replicas);
            ("bound".into(), Finding::Bound(BoundSummary::new(bound, *target)))
        };
        Some(Row { load: name.clone(), policy, seconds: simulation.seconds, list_length: *list_length, finding })
    }

    /// The policy's name in the report, and the policy in its first state; `None` for the bound, which is no policy.
    fn policy(
        &self,
        name: PolicyName,
        manifest: &ManifestScaling,
        length: f64,
    ) -> Option<(String, Box<dyn ScalingPolicy + Send>)> {
        let bounds = (manifest.policy.min_replicas, manifest.policy.max_replicas);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(PHASES);
        let phases = (random.random(), random.random());
        Some(match name {
            PolicyName::Bound => return None,
            PolicyName::Ours => {
                let ManifestScaling { title, policy, calendar, protect_busy } = manifest;
                let ours = OperatorPolicy::new(policy.clone(), *protect_busy, calendar.clone(), self.start.to_utc());
                (title.clone(), Box::new(ours))
            }
            PolicyName::Fixed(workers) => {
                let workers = workers.unwrap_or(manifest.policy.max_replicas);
                (format!("fixed:{workers}"), Box::new(Fixed { workers }))
            }
            PolicyName::Keda => ("keda".into(), Box::new(Keda::new(length, bounds, KEDA_POLLING_SECONDS, phases))),
            PolicyName::KedaTuned => ("keda-1s".into(), Box::new(Keda::new(length, bounds, 1.0, phases))),
            PolicyName::PerWorker => {
                let (least, most) = bounds;
                ("per-worker".into(), Box::new(PerWorker { length, least, most }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario::{ArrivalRate, Circumstances};
    use super::*;

    #[test]
    fn a_run_ends_when_it_is_told_to() {
        let policy = Policy::default();
        let circumstances = Circumstances::new(&policy, 1, 30);
        let rates = [ArrivalRate { at: 0.0, per_second: 1.0 }];
        // Of a length that no test would wait for.
        let scenario = Scenario::of_arrivals("seen".into(), 5, &rates, 1e9, &circumstances);
        let calendar = Calendar::new(Vec::new());
        let manifest = ManifestScaling { title: "ours".into(), policy, calendar, protect_busy: false };
        let (manifests, policies) = (vec![manifest], vec![PolicyName::Ours]);
        let start = DateTime::parse_from_rfc3339("2026-01-05T00:00:00Z").unwrap();
        let comparison = Comparison { manifests, policies, scenarios: vec![scenario], start, seed: 1 };
        assert!(comparison.run_unless(&AtomicBool::new(true)).is_none());
    }

    #[test]
    fn policies_have_names() {
        assert_eq!("fixed:7".parse(), Ok(PolicyName::Fixed(Some(7))));
        assert_eq!("keda-1s".parse(), Ok(PolicyName::KedaTuned));
        assert!("fixed:".parse::<PolicyName>().is_err() && "hpa".parse::<PolicyName>().is_err());
    }
}
