//! How often saturation is found where there is one, and where there is none: many runs with chance.

use jobqueue_scaling::{Decision, Limit};

use crate::jobs::{MOST, Setting, Shop};

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// From nothing, with more work than all workers can do.
    Cold,
    /// After ten minutes with a little work.
    Warm,
    /// After ten minutes in which all workers had work and the database kept up.
    Slower,
}

fn is_found(decision: &Decision) -> bool {
    decision.limits.iter().any(|limited| matches!(limited.limit, Limit::Saturated { .. }))
}

/// When saturation was found, in seconds, of a database that does `part` of what all workers would.
fn found(start: Start, job_seconds: f64, variation: f64, part: f64, seconds: f64, seed: u64) -> Option<f64> {
    let most = f64::from(MOST) / job_seconds;
    let (ceiling, overload) = (part * most, 1.5 * most);
    let mut shop = Shop::new(Setting { job_seconds, variation, ceiling, arrivals: overload }, seed);
    let before = 600.0;
    let mut first = None;
    match start {
        Start::Cold => {}
        Start::Warm => {
            shop.setting.arrivals = 0.6 * part.min(1.0) * most;
            shop.run(before, |_, _| {});
        }
        Start::Slower => {
            shop.setting.ceiling = f64::INFINITY;
            shop.run(before, |_, _| {});
        }
    }
    (shop.setting.ceiling, shop.setting.arrivals) = (ceiling, overload);
    let began = shop.now;
    shop.run(began + seconds, |now, decision| {
        if is_found(decision) {
            first.get_or_insert(now - began);
        }
    });
    first
}

fn rate(runs: u64, run: impl Fn(u64) -> bool) -> f64 {
    (0..runs).filter(|seed| run(*seed)).count() as f64 / runs as f64
}

/// Prints found and false rates: `cargo test -p jobqueue-scaling --test saturation -- --ignored --nocapture monte_carlo`.
#[test]
#[ignore = "takes minutes, and prints a table"]
fn monte_carlo() {
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(40);
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut table = String::new();
    for start in [Start::Cold, Start::Warm, Start::Slower] {
        for job_seconds in [0.05, 0.5, 5.0] {
            for variation in [0.0, 0.5, 1.0, 3.0] {
                let title = format!("{start:?} {job_seconds} s, variation {variation}");
                if !title.contains(&only) {
                    continue;
                }
                table += &format!("{start:?} {job_seconds} s, variation {variation}: found");
                for part in [0.3, 0.5, 0.8] {
                    let found = rate(runs, |seed| found(start, job_seconds, variation, part, 300.0, seed).is_some());
                    table += &format!(" {:.1} % of {part}", 100.0 * found);
                }
                let wrong = rate(runs, |seed| found(start, job_seconds, variation, f64::INFINITY, 900.0, seed).is_some());
                table += &format!("; false {:.1} %\n", 100.0 * wrong);
            }
        }
    }
    panic!("\n{table}");
}

#[test]
#[ignore = "a look at one run"]
fn one_run() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let (job_seconds, variation, part) = (number("JOB").unwrap_or(5.0), number("CV").unwrap_or(0.5), number("PART").unwrap_or(0.3));
    let most = f64::from(MOST) / job_seconds;
    let mut shop = Shop::new(Setting { job_seconds, variation, ceiling: part * most, arrivals: 1.5 * most }, number("SEED").unwrap_or(1.0) as u64);
    let mut last = String::new();
    let mut text = String::new();
    if let Some(before) = number("SLOWER") {
        shop.setting.ceiling = f64::INFINITY;
        shop.run(before, |_, _| {});
        shop.setting.ceiling = part * most;
    }
    if let Some(before) = number("WARM") {
        shop.setting.arrivals = 0.6 * part * most;
        shop.run(before, |_, _| {});
        shop.setting.arrivals = 1.5 * most;
    }
    let end = shop.now + number("UNTIL").unwrap_or(400.0);
    shop.run(end, |now, decision| {
        let limits: Vec<String> = decision.limits.iter().map(|limited| limited.limit.to_string()).filter(|text| !text.contains("completions")).collect();
        let told = format!("{} {limits:?}", decision.replicas);
        if told != last {
            text += &format!("{now} {told}\n");
            last = told;
        }
    });
    panic!("\n{text}");
}
