//! The pages on scaling and on conditions name every reason of a decision, and the first every limit; its worked examples
//! are what is decided, and what it says of the headroom is what Erlang's formula says.

use jobqueue_scaling::{
    ConnectionBudget, Limit, Memory, Observation, Policy, Rates, Reason, WorkerRate, Workers, decide,
};
use strum::VariantNames;

const SCALING: &str = include_str!("../../docs/scaling.md");
const CONDITIONS: &str = include_str!("../../docs/conditions.md");

fn missing(page: &str, names: &[&'static str]) -> Vec<&'static str> {
    names.iter().filter(|name| !page.contains(&format!("\n| `{name}` |"))).copied().collect()
}

#[test]
fn every_reason_and_limit_is_documented() {
    assert_eq!(missing(SCALING, Limit::VARIANTS), [""; 0], "limits, docs/scaling.md");
    let events = CONDITIONS.split("\n## Events").nth(1).expect("a section on events");
    assert_eq!(missing(events, Reason::VARIANTS), [""; 0], "reasons, docs/conditions.md");
}

/// `20,000` or `0.5`.
fn number(text: &str) -> f64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(value: f64) -> u32 {
    value as u32
}

/// `jobsPerWorker 10, scaleUp.maxStep 8`
fn policy(text: &str) -> Policy {
    let mut policy = Policy { max_replicas: 100, ..Policy::default() };
    let mut budget = (None, 1);
    for setting in text.split(", ") {
        let (field, value) = setting.split_once(' ').expect("a field and a number");
        let value = number(value);
        match field {
            "jobsPerWorker" => policy.targets.jobs_per_worker = Some(value),
            "drainSeconds" => policy.targets.drain_seconds = Some(value),
            "maxWaitSeconds" => policy.targets.max_wait_seconds = Some(value),
            "maxReplicas" => policy.max_replicas = whole(value),
            "scaleUp.maxStep" => policy.scale_up.max_step = Some(whole(value)),
            "scaleDown.stabilizationSeconds" => policy.scale_down.stabilization_seconds = value,
            "maxConnections" => budget.0 = Some(whole(value)),
            "concurrency" => budget.1 = whole(value),
            _ => panic!("{field} is no field that this test knows"),
        }
    }
    policy.connections = budget.0.map(|connections| ConnectionBudget { connections, per_worker: budget.1 });
    policy
}

/// `300 wait, 10 run, oldest 12 s, 2/s each, 5 workers`; a rate rests on a hundred completions where it does not say.
fn observation(text: &str) -> Observation {
    let (mut backlog, mut rates) = (jobqueue_scaling::Backlog::default(), Rates::default());
    let (mut desired, mut seen) = (0, 100.0);
    for part in text.split(", ") {
        let (first, second) = part.split_once(' ').expect("two words");
        match (first, second) {
            ("oldest", wait) => backlog.oldest_wait_seconds = Some(number(wait.trim_end_matches(" s"))),
            (jobs, "wait") => backlog.waiting = whole(number(jobs)).into(),
            (jobs, "run") => backlog.running = whole(number(jobs)).into(),
            (rate, "each") => {
                let jobs_per_second = number(rate.trim_end_matches("/s"));
                rates.per_worker = Some(WorkerRate { jobs_per_second, completions: 0.0 });
            }
            (completions, "seen") => seen = number(completions),
            (rate, "arrive") => rates.arrivals_per_second = Some(number(rate.trim_end_matches("/s"))),
            (workers, "workers") => desired = whole(number(workers)),
            _ => panic!("{part:?} is nothing that this test knows"),
        }
    }
    if let Some(rate) = &mut rates.per_worker {
        rate.completions = seen;
    }
    let busy = u32::try_from(backlog.running).expect("few").min(desired);
    let workers = Workers { desired, ready: desired, busy };
    Observation { backlog: Some(backlog), workers, rates, ..Observation::default() }
}

#[test]
fn worked_examples_are_what_is_decided() {
    let table = SCALING.split("\n## Worked examples").nth(1).expect("a section with examples");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 12, "{} examples", rows.len());
    for row in rows {
        let [settings, seen, workers, because] = row[..] else { panic!("{row:?}") };
        let (decision, _) = decide(&policy(settings), &observation(seen), &Memory::default());
        assert_eq!(
            (decision.replicas.to_string().as_str(), decision.to_string().as_str()),
            (workers, because),
            "{row:?}"
        );
    }
}

/// Erlang's formula C: the probability that a job finds all of `workers` busy, `load` of them on average.
fn erlang_c(workers: u32, load: f64) -> f64 {
    let blocked = (1..=workers).fold(1.0, |blocked, c| load * blocked / (f64::from(c) + load * blocked));
    blocked / (1.0 - load / f64::from(workers) * (1.0 - blocked))
}

#[test]
fn with_the_headroom_a_third_of_the_jobs_waits_at_most() {
    let waits = |load: f64| {
        let mut seen = observation("0 wait, 1/s each, 0 arrive");
        seen.rates.arrivals_per_second = Some(load);
        let workers =
            decide(&Policy { max_replicas: u32::MAX, ..policy("drainSeconds 60") }, &seen, &Memory::default()).0.wanted;
        (workers, erlang_c(workers, load))
    };
    let (mut load, mut most) = (0.4, (0, 0.0));
    while load < 200.0 {
        let (workers, waiting) = waits(load);
        if waiting > most.1 {
            most = (workers, waiting);
        }
        load += 0.01;
    }
    assert!(most.0 == 2 && (most.1 - 1.0 / 3.0).abs() < 0.01, "{most:?}");
    let (workers, waiting) = waits(10_000.0);
    assert!(workers == 10_100 && (0.22..0.23).contains(&waiting), "{workers}: {waiting}");
    assert!(waits(100.0).0 == 110);
}
