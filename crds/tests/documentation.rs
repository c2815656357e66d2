//! The page on conditions names every type and every reason, each in a row of a table, and none that does not exist.

use std::collections::BTreeSet;

use jobqueue_crds::{ConditionType, Reason};
use strum::IntoEnumIterator;

const PAGE: &str = include_str!("../../docs/conditions.md");

/// The first cells of the tables under `headings`.
fn rows(wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut heading = "";
    let mut names = BTreeSet::new();
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        } else if let Some((name, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`'))
            && wanted(heading)
        {
            assert!(names.insert(name.to_owned()), "{name} stands twice under {heading}");
        }
    }
    names
}

#[test]
fn every_condition_type_is_documented() {
    let types: BTreeSet<String> = ConditionType::iter().map(|kind| kind.to_string()).collect();
    assert_eq!(rows(|heading| heading == "Types"), types);
}

#[test]
fn every_reason_is_documented() {
    let reasons: BTreeSet<String> = Reason::iter().map(|reason| reason.to_string()).collect();
    let documented = rows(|heading| heading != "Types" && !heading.starts_with("Events"));
    let missing: Vec<_> = reasons.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&reasons).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}; no reason of ours: {unknown:?}");
}
