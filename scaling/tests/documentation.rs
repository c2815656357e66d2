//! The pages on scaling and on conditions name every reason of a decision, and the first every limit.

use jobqueue_scaling::{Limit, Reason};
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
