//! Holds the direction of dependence between the crates of this workspace, as `cargo metadata` reports it, and between the
//! modules of the operator, as their paths say. The rules are the first invariants of ARCHITECTURE.md; a change here is a change of the
//! architecture and belongs in `docs/decisions/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate of ours, and those of ours that it may build on.
const LAYERS: [(&str, &[&str]); 19] = [
    ("jobqueue-access", &[]),
    ("jobqueue-api", &[]),
    ("jobqueue-crds", &["jobqueue-api"]),
    ("jobqueue-json", &[]),
    ("jobqueue-listen", &[]),
    ("jobqueue-traces", &[]),
    ("jobqueue-queue", &["jobqueue-api", "jobqueue-json"]),
    ("jobqueue-ingest", &["jobqueue-api", "jobqueue-json"]),
    ("jobqueue-scaling", &[]),
    ("jobqueue-scaling-input", &["jobqueue-crds", "jobqueue-queue", "jobqueue-scaling"]),
    ("jobqueue-simulator", &["jobqueue-scaling"]),
    (
        "jobqueue-worker",
        &["jobqueue-api", "jobqueue-json", "jobqueue-listen", "jobqueue-queue", "jobqueue-ingest", "jobqueue-traces"],
    ),
    (
        "jobqueue-operator",
        &[
            "jobqueue-access",
            "jobqueue-crds",
            "jobqueue-listen",
            "jobqueue-queue",
            "jobqueue-scaling",
            "jobqueue-scaling-input",
            "jobqueue-traces",
        ],
    ),
    (
        "jobqueue-dashboard",
        &[
            "jobqueue-access",
            "jobqueue-crds",
            "jobqueue-inspect",
            "jobqueue-json",
            "jobqueue-listen",
            "jobqueue-queue",
            "jobqueue-scaling-input",
            "jobqueue-simulator",
        ],
    ),
    ("jobqueue-inspect", &["jobqueue-crds", "jobqueue-queue"]),
    ("jobqueue-top", &["jobqueue-crds", "jobqueue-inspect", "jobqueue-queue"]),
    (
        "jobqueue-cli",
        &[
            "jobqueue-api",
            "jobqueue-crds",
            "jobqueue-dashboard",
            "jobqueue-inspect",
            "jobqueue-json",
            "jobqueue-queue",
            "jobqueue-ingest",
            "jobqueue-scaling",
            "jobqueue-scaling-input",
            "jobqueue-simulator",
            "jobqueue-top",
            "jobqueue-traces",
            "jobqueue-worker",
        ],
    ),
    ("jobqueue-testkit", &[]),
    // For its tests only: the model builds on nothing, and real runs are held to it.
    ("jobqueue-proof", &["jobqueue-json", "jobqueue-queue", "jobqueue-ingest"]),
];

/// Libraries that must stay behind one door: the library, and the crates of ours that may open it.
const FENCES: [(&str, &[&str]); 6] = [
    ("redis", &["jobqueue-queue"]),
    ("hickory-resolver", &["jobqueue-queue"]),
    ("sqlx", &["jobqueue-ingest"]),
    (
        "kube",
        &[
            "jobqueue-access",
            "jobqueue-crds",
            "jobqueue-operator",
            "jobqueue-inspect",
            "jobqueue-dashboard",
            "jobqueue-cli",
        ],
    ),
    ("k8s-openapi", &["jobqueue-access", "jobqueue-crds", "jobqueue-operator", "jobqueue-inspect", "jobqueue-cli"]),
    ("ratatui", &["jobqueue-top"]),
];

/// What a pure crate cannot have: anything that waits, reads a clock or talks to somebody.
const IMPURE: [&str; 7] = ["tokio", "async-trait", "futures", "rand", "reqwest", "axum", "uuid"];

/// The files and folders of `operator/src`. Each uses those before it only; `main` and `lib` put all together.
const OPERATOR: [&str; 20] = [
    "backoff",
    "descriptors",
    "digest",
    "lease_guard",
    "names",
    "liveness",
    "scope",
    "state",
    "metrics",
    "traces",
    "kube_client",
    "metrics_access",
    "status",
    "autoscaler",
    "reconciler",
    "leadership",
    "http",
    "healthcheck",
    "args",
    "main",
];

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
fn redis_sqlx_and_kube_stay_in_their_crates() {
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

/// The modules below `crate` that a source names: `a` and `b` for `crate::a::x` and `crate::{b::{y, z}}`.
fn modules_named(source: &str) -> BTreeSet<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let head = |path: &str| {
        let name = path.trim_start().split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next();
        name.unwrap_or_default().to_owned()
    };
    let heads = |rest: &str| match rest.strip_prefix('{') {
        Some(group) => top_level(group).iter().map(|item| head(item)).collect(),
        None => vec![head(rest)],
    };
    code.split("crate::").skip(1).flat_map(heads).filter(|name| !name.is_empty()).collect()
}

/// The items of a group in braces, without what they have in braces of their own.
fn top_level(group: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 1_u32;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => items.push(String::new()),
            _ if depth == 1 => items.last_mut().expect("one at least").push(c),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    items
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a folder of sources is readable");
    entries.flat_map(|entry| sources(&entry.expect("an entry is readable").path())).collect()
}

#[test]
fn paths_of_modules_are_found() {
    let source = "use crate::a::x;\nuse crate::{\n    b::{y, z},\n    c,\n};\n// crate::d\nfn f() { crate::e::g(); }";
    assert_eq!(modules_named(source).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "e"]);
}

#[test]
fn modules_of_the_operator_use_only_those_before_them() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../operator/src"));
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root).expect("the operator has sources") {
        let path = entry.expect("an entry is readable").path();
        let module = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if module == "lib" {
            continue;
        }
        let place = OPERATOR.iter().position(|name| *name == module);
        let before = &OPERATOR[..place.unwrap_or_else(|| panic!("OPERATOR does not name {module}"))];
        for source in sources(&path) {
            for used in modules_named(&fs::read_to_string(&source).expect("a source is text")) {
                assert!(used == module || before.contains(&used.as_str()), "{} must not use {used}", source.display());
            }
        }
        found.insert(module);
    }
    assert_eq!(found.len(), OPERATOR.len(), "OPERATOR names what is there, and nothing else");
}
