//! The tables that the program and the tests print.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::check::{Counterexample, Report};
use crate::guards::Switch;
use crate::scenarios::{Limit, Scenario, limits, scenarios};

/// Cores that are used.
const THREADS: usize = 2;

/// Does `work` with each of `items`, on a few threads; the answers are in the order of the items.
fn each<T: Sync, A: Send>(items: &[T], work: impl Fn(&T) -> A + Sync) -> Vec<A> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((at, item)) =
                    { Some(next.fetch_add(1, Ordering::Relaxed)) }.and_then(|at| items.get(at).map(|item| (at, item)))
                {
                    let answer = work(item);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, answer));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

/// Visits every scenario that has `part` in its name, small or deep.
pub fn visit_scenarios(deep: bool, part: &str) -> Vec<(Scenario, Report)> {
    let mut all = scenarios();
    all.retain(|scenario| scenario.name.contains(part));
    let reports = each(&all, |scenario| {
        let report = if deep { scenario.deep.check() } else { scenario.small.check() };
        if deep {
            // It takes a while: somebody may be looking on.
            eprintln!("{}: {} states in {:.0} s", scenario.name, report.states, report.took.as_secs_f64());
        }
        report
    });
    all.into_iter().zip(reports).collect()
}

/// Visits, for each switch, the scenarios that need it, with the switch off.
pub fn visit_switches() -> Vec<(Switch, &'static str, Report)> {
    let all = scenarios();
    let mut pairs: Vec<(Switch, &Scenario)> =
        all.iter().flat_map(|scenario| scenario.needs.iter().map(move |switch| (*switch, scenario))).collect();
    pairs.sort_by_key(|(switch, _)| *switch);
    let reports = each(&pairs, |(switch, scenario)| scenario.small.without(*switch).check());
    pairs.into_iter().zip(reports).map(|((switch, scenario), report)| (switch, scenario.name, report)).collect()
}

/// Visits every limit.
pub fn visit_limits() -> Vec<(Limit, Report)> {
    let all = limits();
    let reports = each(&all, |limit| limit.case.check());
    all.into_iter().zip(reports).collect()
}

/// States, depth and seconds of each scenario.
pub fn scenario_table(visited: &[(Scenario, Report)]) -> String {
    let mut text = format!("{:34} {:>9} {:>6} {:>8}  \n", "scenario", "states", "steps", "seconds");
    for (scenario, report) in visited {
        let verdict = report.counterexample.as_ref().map_or("holds", |_| "DOES NOT HOLD");
        let seconds = report.took.as_secs_f64();
        let _ = writeln!(
            text,
            "{:34} {:>9} {:>6} {seconds:>8.1}  {verdict}: {}",
            scenario.name, report.states, report.depth, scenario.what
        );
    }
    text
}

/// What is found when a switch is off.
pub fn switch_table(visited: &[(Switch, &'static str, Report)]) -> String {
    let mut text = format!("{:4} {:>5}  {:28} {:34} {}\n", "off", "steps", "does not hold", "scenario", "the rule");
    for (switch, scenario, report) in visited {
        let (steps, property) = found(report);
        let _ = writeln!(text, "{:4} {steps:>5}  {property:28} {scenario:34} {}", switch.name(), switch.what());
    }
    text
}

/// What is found although all is on.
pub fn limit_table(visited: &[(Limit, Report)]) -> String {
    let mut text = format!("{:>5}  {}\n", "steps", "not promised");
    for (limit, report) in visited {
        let (steps, _) = found(report);
        let _ = writeln!(text, "{steps:>5}  {}\n       {}", limit.what, limit.why);
    }
    text
}

fn found(report: &Report) -> (String, &'static str) {
    match &report.counterexample {
        Some(found) => (found.steps.len().to_string(), found.property),
        None => ("-".to_owned(), "NOTHING FOUND"),
    }
}

/// A counterexample, step by step.
pub fn story(found: &Counterexample) -> String {
    let mut text = String::new();
    for (number, step) in (1..).zip(&found.steps) {
        let _ = writeln!(text, "  {number:>2}. {step}");
    }
    for line in &found.after {
        let _ = writeln!(text, "   -  {line}");
    }
    let _ = writeln!(text, "  does not hold: {}", found.property);
    text
}
