//! Holds the names: words that only this project used for things the field has names for do not come back.

use std::collections::BTreeSet;
use std::path::Path;

use jobqueue_testkit::tree::files;

/// Names that no type, module, file or folder has, in lower case, each with the word that we use.
const RETIRED: [(&str, &str); 46] = [
    ("bay", "fixture"),
    ("beside", "sidecar_keys"),
    ("board", "FaultReporter"),
    ("bookkeeping", "lease_store"),
    ("crew", "the workers, or a fixture"),
    ("datum", "Value"),
    ("demand", "ScalingInput"),
    ("dial", "connector"),
    ("doorbell", "wakeup"),
    ("fate", "LeaseState"),
    ("foreman", "ScalingPolicy"),
    ("gate", "circuit_breaker"),
    ("glimpse", "deployment_cache"),
    ("goers", "scale_down"),
    ("grip", "LeaseGroup"),
    ("hand", "in_flight, InHand"),
    ("heed", "handle_notices"),
    ("intake", "claimer"),
    ("kept", "compact_object"),
    ("landed", "RowOutcome"),
    ("look", "poll"),
    ("misfit", "SchemaMismatch"),
    ("obey", "handle_commands"),
    ("office", "Term"),
    ("place", "QueueKeys, Address"),
    ("post", "ScopeArgs"),
    ("reach", "Reachability"),
    ("rival", "competing_scalers"),
    ("rivals", "competing_scalers"),
    ("rush", "write_priority"),
    ("seen", "QueueSnapshot"),
    ("shop", "Simulation, or a fixture"),
    ("stand", "fixture"),
    ("suspects", "quarantine"),
    ("sweep", "poll, autoscaler"),
    ("tell", "report"),
    ("tenure", "lease_guard"),
    ("told", "StatusDigest"),
    ("triage", "quarantine"),
    ("trouble", "WorkerFault"),
    ("turn", "ClaimToken"),
    ("turns", "admission"),
    ("upkeep", "maintenance"),
    ("visit", "reconcile"),
    ("whose", "the thing itself"),
    ("world", "Simulation"),
];

/// Words of that list that plain English does not need either. A page of the past may have them.
const IN_PROSE: [&str; 8] = ["datum", "doorbell", "foreman", "glimpse", "goers", "rivals", "tenure", "upkeep"];
const PAGES_OF_THE_PAST: [&str; 3] = ["CHANGELOG.md", "docs/decisions", "docs/measurements"];

fn is_retired(name: &str) -> bool {
    RETIRED.iter().any(|(retired, _)| name.eq_ignore_ascii_case(retired))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

#[test]
fn no_type_or_module_has_a_private_name() {
    let mut found = BTreeSet::new();
    for (path, text) in files(&["rs"]) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let line: Vec<&str> = words(line).collect();
            for pair in line.windows(2) {
                if matches!(pair[0], "struct" | "enum" | "trait" | "type" | "mod") && is_retired(pair[1]) {
                    found.insert(format!("{}: {} {}", path.display(), pair[0], pair[1]));
                }
            }
        }
    }
    assert!(found.is_empty(), "the list in this file says what they are called: {found:#?}");
}

#[test]
fn no_file_or_folder_has_a_private_name() {
    let named = |path: &Path| {
        path.with_extension("").components().any(|part| part.as_os_str().to_str().is_some_and(is_retired))
    };
    let found: Vec<_> =
        files(&["rs", "lua", "py", "md"]).into_iter().map(|(path, _)| path).filter(|path| named(path)).collect();
    assert!(found.is_empty(), "the list in this file says what they are called: {found:#?}");
}

#[test]
fn no_page_or_comment_has_a_private_word() {
    let of_the_past = |path: &Path| PAGES_OF_THE_PAST.iter().any(|page| path.starts_with(page));
    let mut found = BTreeSet::new();
    for (path, text) in files(&["rs", "lua", "py", "md", "yaml"]) {
        if path.ends_with("testkit/tests/words.rs") || of_the_past(&path) {
            continue;
        }
        for word in words(&text).filter(|word| IN_PROSE.iter().any(|private| word.eq_ignore_ascii_case(private))) {
            found.insert(format!("{}: {word}", path.display()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
