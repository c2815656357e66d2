//! Prints what the checker finds.

use std::process::ExitCode;

use jobqueue_proof::check::Report;
use jobqueue_proof::tables::{
    limit_table, scenario_table, story, switch_table, visit_limits, visit_scenarios, visit_switches,
};

const HELP: &str = "\
Visits every state of small models of the protocol.

  jobqueue-proof             every scenario, small; what each guard is needed for; what is not promised
  jobqueue-proof --deep      every scenario with more of everything: some minutes; --deep PART those with PART in their name
  jobqueue-proof --show OFF  the counterexamples with a switch off, step by step (such as G7), or of the limits (limits)

Ends with 1 where a property does not hold with everything switched on, or where a guard is not needed.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => everything(),
        ["--deep"] => deep(""),
        ["--deep", part] => deep(part),
        ["--show", name] => show(name),
        ["--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{HELP}");
            ExitCode::from(2)
        }
    }
}

fn everything() -> ExitCode {
    let scenarios = visit_scenarios(false, "");
    println!("With everything switched on:\n\n{}", scenario_table(&scenarios));
    let held = held(scenarios.iter().map(|(scenario, report)| (scenario.name, report)));
    let switches = visit_switches();
    println!("With one switch off (M: rules that the model asked for):\n\n{}", switch_table(&switches));
    let limits = visit_limits();
    println!("Limits, with everything switched on:\n\n{}", limit_table(&limits));
    let needed = switches.iter().all(|(_, _, report)| report.counterexample.is_some());
    verdict(held && needed)
}

fn deep(part: &str) -> ExitCode {
    let scenarios = visit_scenarios(true, part);
    println!("{}", scenario_table(&scenarios));
    let held = held(scenarios.iter().map(|(scenario, report)| (scenario.name, report)));
    verdict(held && !scenarios.is_empty())
}

fn show(name: &str) -> ExitCode {
    let mut known = false;
    if name == "limits" {
        for (limit, report) in visit_limits() {
            known = true;
            println!("{}\n{}", limit.what, report.counterexample.as_ref().map(story).unwrap_or_default());
        }
    }
    for (switch, scenario, report) in visit_switches() {
        if switch.name().eq_ignore_ascii_case(name) {
            known = true;
            let story = report.counterexample.as_ref().map(story).unwrap_or_default();
            println!("{switch} off ({}), in \"{scenario}\":\n{story}", switch.what());
        }
    }
    if !known {
        eprintln!("no switch has the name {name}; the table has them all");
    }
    verdict(known)
}

/// Prints what does not hold.
fn held<'a>(visited: impl Iterator<Item = (&'a str, &'a Report)>) -> bool {
    let mut held = true;
    for (name, report) in visited {
        if let Some(found) = &report.counterexample {
            held = false;
            println!("{name}:\n{}", story(found));
        }
    }
    held
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
