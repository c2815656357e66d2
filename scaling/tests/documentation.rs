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
            "scaleDown.stabilizationSeconds" => policy.scale_down.stabilization_seconds = Some(value),
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

/// The probability that a job finds all of `workers` busy, `load` of them on average: Erlang's formula C, term by term.
fn erlang_c(workers: u32, load: f64) -> f64 {
    let mut term = 1.0;
    let mut fewer = 0.0;
    for busy in 0..workers {
        fewer += term;
        term *= load / f64::from(busy + 1);
    }
    let all = term / (1.0 - load / f64::from(workers));
    all / (fewer + all)
}

#[test]
fn of_a_hundred_jobs_five_wait_longer_than_a_short_target() {
    for (load, wait) in [(1_u32, 1.0), (4, 0.2), (16, 1.0), (60, 2.0)] {
        let policy = Policy { max_replicas: 1000, ..policy(&format!("maxWaitSeconds {wait}")) };
        let mut memory = Memory::default();
        let mut kept = 0;
        for poll in 0..8_000_u32 {
            let mut seen = observation(&format!("0 wait, {load} run, 1/s each, 200 workers"));
            seen.now = f64::from(poll) / 4.0;
            // As many come as end.
            seen.rates.ended = u64::from((poll + 1) * load / 4 - poll * load / 4);
            let (decision, next) = decide(&policy, &seen, &memory);
            memory = next;
            kept = decision.replicas;
        }
        let load = f64::from(load);
        let late = |workers: u32| erlang_c(workers, load) * (-(f64::from(workers) - load) * wait).exp();
        assert!(late(kept) <= 0.05, "{load}: {kept} workers, {}", late(kept));
        assert!(f64::from(kept - 1) <= load || late(kept - 1) > 0.049, "{load}: {kept} workers, {}", late(kept - 1));
    }
}
