//! Traces that the model allows, and some that it must not.

use jobqueue_proof::guards::{Guards, Switch};
use jobqueue_proof::rq::trace::{Refused, replay_text};

fn replay(text: &str) -> Result<usize, Refused> {
    replay_text(text, Guards::all(), 3)
}

fn refused_at(text: &str) -> usize {
    replay(text).expect_err("the model does not allow it").line
}

const CLAIMED: &str = r#"{"event":"enqueue","job":"j","version":"t1"}
{"event":"claim","worker":"a","job":"j","run":"r1","execution":"e1"}
"#;

#[test]
fn a_plain_run_is_allowed() {
    let text = format!(
        "{CLAIMED}{}",
        r#"{"event":"commit","worker":"a","run":"r1","applied":true}
{"event":"settle","worker":"a","execution":"e1","outcome":"finished"}
"#
    );
    replay(&text).expect("allowed");
}

#[test]
fn a_zombie_finds_the_ledger() {
    let zombie = |applied: bool| {
        format!(
            r#"{CLAIMED}{{"event":"reclaim","execution":"e1"}}
{{"event":"claim","worker":"b","job":"j","run":"r1","execution":"e2"}}
{{"event":"commit","worker":"b","run":"r1","applied":true}}
{{"event":"commit","worker":"a","run":"r1","applied":{applied}}}
{{"event":"settle","worker":"a","execution":"e1","outcome":"lost"}}
{{"event":"settle","worker":"b","execution":"e2","outcome":"finished"}}
"#
        )
    };
    replay(&zombie(false)).expect("allowed");
    assert_eq!(refused_at(&zombie(true)), 6);
}

#[test]
fn a_run_keeps_its_name_through_crash_and_retry() {
    let again = |run: &str| {
        format!(
            r#"{CLAIMED}{{"event":"settle","worker":"a","execution":"e1","outcome":"retried"}}
{{"event":"claim","worker":"b","job":"j","run":"r1","execution":"e2"}}
{{"event":"crash","worker":"b"}}
{{"event":"reclaim","execution":"e2"}}
{{"event":"claim","worker":"a","job":"j","run":"{run}","execution":"e3"}}
"#
        )
    };
    replay(&again("r1")).expect("allowed");
    assert_eq!(refused_at(&again("r2")), 7);
}

#[test]
fn a_newer_version_waits_and_has_a_name_of_its_own() {
    let text = |run: &str, first: &str| {
        format!(
            r#"{CLAIMED}{{"event":"enqueue","job":"j","version":"t2"}}
{first}{{"event":"claim","worker":"b","job":"j","run":"{run}","execution":"e2"}}
{{"event":"commit","worker":"b","run":"{run}","applied":true}}
"#
        )
    };
    let done = r#"{"event":"commit","worker":"a","run":"r1","applied":true}
{"event":"settle","worker":"a","execution":"e1","outcome":"finished"}
"#;
    replay(&text("r2", done)).expect("allowed");
    assert_eq!(refused_at(&text("r1", done)), 6, "it is another run");
    assert_eq!(refused_at(&text("r2", "")), 4, "the older one is in hand");
}

#[test]
fn nothing_is_finished_that_was_not_committed() {
    let text = format!("{CLAIMED}{}", r#"{"event":"settle","worker":"a","execution":"e1","outcome":"finished"}"#);
    assert_eq!(refused_at(&text), 3);
}

#[test]
fn nothing_comes_from_nowhere() {
    let text = r#"{"event":"claim","worker":"a","job":"j","run":"r1","execution":"e1"}"#;
    assert_eq!(refused_at(text), 1);
    let twice = format!("{CLAIMED}{}", r#"{"event":"claim","worker":"b","job":"j","run":"r1","execution":"e2"}"#);
    assert_eq!(refused_at(&twice), 3, "it is in hand");
    assert_eq!(refused_at("{\"event\":\"enqueue\"}"), 1, "a field is missing");
}

#[test]
fn a_failover_brings_back_the_run_under_its_name() {
    let text = |run: &str, applied: bool| {
        format!(
            r#"{{"event":"enqueue","job":"j","version":"t1"}}
{{"event":"backup"}}
{{"event":"claim","worker":"a","job":"j","run":"r1","execution":"e1"}}
{{"event":"commit","worker":"a","run":"r1","applied":true}}
{{"event":"settle","worker":"a","execution":"e1","outcome":"finished"}}
{{"event":"failover"}}
{{"event":"claim","worker":"b","job":"j","run":"{run}","execution":"e2"}}
{{"event":"commit","worker":"b","run":"{run}","applied":{applied}}}
"#
        )
    };
    replay(&text("r1", false)).expect("allowed");
    assert_eq!(refused_at(&text("r1", true)), 8);
    assert_eq!(refused_at(&text("r2", true)), 7);
}

/// The rules are those that are switched on: without G2 the other name is the one that is right.
#[test]
fn the_rules_are_those_that_are_on() {
    let text = format!(
        r#"{CLAIMED}{{"event":"crash","worker":"a"}}
{{"event":"reclaim","execution":"e1"}}
{{"event":"claim","worker":"a","job":"j","run":"r2","execution":"e2"}}
"#
    );
    assert_eq!(refused_at(&text), 5);
    replay_text(&text, Guards::all().without(Switch::RunStays), 3).expect("allowed");
}
