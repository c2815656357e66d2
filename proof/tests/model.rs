//! The small worlds, whole: what must hold does, every guard is needed, and the limits are where the page says.

use jobqueue_proof::guards::Switch;
use jobqueue_proof::tables::{
    limit_table, scenario_table, story, switch_table, visit_limits, visit_scenarios, visit_switches,
};

#[test]
fn with_everything_on_every_property_holds() {
    let visited = visit_scenarios(false, "");
    println!("{}", scenario_table(&visited));
    for (scenario, report) in &visited {
        let found = report.counterexample.as_ref().map(story);
        assert_eq!(found, None, "{}: {}", scenario.name, found.clone().unwrap_or_default());
        assert!(report.states > 100, "{} has only {} states: it shows nothing", scenario.name, report.states);
    }
}

#[test]
fn with_any_switch_off_there_is_a_counterexample() {
    let visited = visit_switches();
    println!("{}", switch_table(&visited));
    for switch in Switch::ALL {
        let of_it: Vec<_> = visited.iter().filter(|(other, _, _)| other == switch).collect();
        assert!(!of_it.is_empty(), "no scenario needs {switch}");
        for (_, scenario, report) in of_it {
            assert!(report.counterexample.is_some(), "{switch} off changes nothing in \"{scenario}\"");
        }
    }
}

/// A limit that is none any more belongs out of the documentation.
#[test]
fn the_limits_are_still_there() {
    let visited = visit_limits();
    println!("{}", limit_table(&visited));
    for (limit, report) in &visited {
        assert!(report.counterexample.is_some(), "{} holds by now", limit.what);
    }
}
