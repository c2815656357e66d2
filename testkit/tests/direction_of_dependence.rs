//! Holds the direction of dependence between the crates of this workspace, as `cargo metadata` reports it. The picture
//! is in ARCHITECTURE.md; a change here is a change of the architecture and belongs in `docs/decisions/`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each crate of ours, and those of ours that it may build on.
const LAYERS: [(&str, &[&str]); 14] = [
    ("jobqueue-api", &[]),
    ("jobqueue-crds", &["jobqueue-api"]),
    ("jobqueue-json", &[]),
    ("jobqueue-listen", &[]),
    ("jobqueue-queue", &["jobqueue-api", "jobqueue-json"]),
    ("jobqueue-ingest", &["jobqueue-api", "jobqueue-json"]),
    ("jobqueue-scaling", &[]),
    ("jobqueue-scaling-input", &["jobqueue-crds", "jobqueue-queue", "jobqueue-scaling"]),
    ("jobqueue-simulator", &["jobqueue-scaling"]),
    ("jobqueue-worker", &["jobqueue-api", "jobqueue-json", "jobqueue-listen", "jobqueue-queue", "jobqueue-ingest"]),
    (
        "jobqueue-operator",
        &["jobqueue-crds", "jobqueue-listen", "jobqueue-queue", "jobqueue-scaling", "jobqueue-scaling-input"],
    ),
    (
        "jobqueue-cli",
        &[
            "jobqueue-api",
            "jobqueue-crds",
            "jobqueue-json",
            "jobqueue-queue",
            "jobqueue-ingest",
            "jobqueue-scaling",
            "jobqueue-scaling-input",
            "jobqueue-simulator",
            "jobqueue-worker",
        ],
    ),
    ("jobqueue-testkit", &[]),
    // For its tests only: the model builds on nothing, and real runs are held to it.
    ("jobqueue-proof", &["jobqueue-json", "jobqueue-queue", "jobqueue-ingest"]),
];

/// Libraries that must stay behind one door: the library, and the crates of ours that may open it.
const FENCES: [(&str, &[&str]); 4] = [
    ("redis", &["jobqueue-queue"]),
    ("sqlx", &["jobqueue-ingest"]),
    ("kube", &["jobqueue-crds", "jobqueue-operator", "jobqueue-cli"]),
    ("k8s-openapi", &["jobqueue-crds", "jobqueue-operator", "jobqueue-cli"]),
];

/// What a pure crate cannot have: anything that waits, reads a clock or talks to somebody.
const IMPURE: [&str; 7] = ["tokio", "async-trait", "futures", "rand", "reqwest", "axum", "uuid"];

#[derive(Debug)]
struct Dependency {
    name: String,
    only_for_tests: bool,
}

fn dependencies() -> BTreeMap<String, Vec<Dependency>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path", manifest])
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata answers in JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let needs = list(&package["dependencies"]).into_iter().map(|dependency| Dependency {
                name: text(&dependency["name"]),
                only_for_tests: dependency["kind"] == "dev",
            });
            (text(&package["name"]), needs.collect())
        })
        .collect()
}

#[test]
fn every_crate_builds_only_on_those_below_it() {
    let crates = dependencies();
    let known: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let ours: BTreeSet<&str> = crates.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = known.keys().copied().collect();
    assert_eq!(ours, listed, "LAYERS names every crate of the workspace, and no other");
    for (name, needs) in &crates {
        for need in needs.iter().filter(|need| ours.contains(need.name.as_str())) {
            let allowed = known[name.as_str()].contains(&need.name.as_str());
            let for_tests = need.only_for_tests && need.name == "jobqueue-testkit";
            assert!(allowed || for_tests, "{name} must not depend on {}", need.name);
        }
    }
}

#[test]
fn each_outside_world_has_one_door() {
    for (name, needs) in &dependencies() {
        for need in needs.iter().filter(|need| !need.only_for_tests) {
            for (library, doors) in FENCES {
                assert!(need.name != library || doors.contains(&name.as_str()), "{name} must not depend on {library}");
            }
        }
    }
}

#[test]
fn the_scaling_decision_stays_pure() {
    for need in dependencies()["jobqueue-scaling"].iter().filter(|need| !need.only_for_tests) {
        assert!(!IMPURE.contains(&need.name.as_str()), "jobqueue-scaling must not depend on {}", need.name);
    }
}
