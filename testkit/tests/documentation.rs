//! The documentation as a whole: links lead somewhere, and the page on metrics names those that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["charts/jobqueue-operator", "proof"].map(|directory| root().join(directory).join("README.md")).into();
    for directory in [".", "docs", "docs/decisions", "docs/measurements", "examples/companies", "examples/python-rq"] {
        let entries = fs::read_dir(root().join(directory)).expect("a directory of pages");
        let paths = entries.map(|entry| entry.expect("readable").path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages
}

/// The lines that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence && !line.starts_with("    ")
    })
}

/// As GitHub makes an anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// What the links of a line lead to; what stands between backticks is no link.
fn links(line: &str) -> Vec<String> {
    let text: String = line.split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for target in prose(&text).flat_map(links).filter(|target| !target.contains("://")) {
            checked += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let at = if file.is_empty() { page.clone() } else { page.parent().expect("a directory").join(file) };
            let found = at.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&at).is_ok_and(|text| {
                        let headings = prose(&text).filter(|line| line.starts_with('#'));
                        headings.map(|line| anchor(line.trim_start_matches('#'))).any(|known| known == heading)
                    }));
            if !found {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(checked > 50, "only {checked} links were found");
}

/// The names that `source` gives to `register` and `register_with_unit`.
fn registered(source: &str) -> BTreeSet<String> {
    let calls = source.split("register").skip(1);
    let arguments = calls.map(|call| call.strip_prefix("_with_unit").unwrap_or(call));
    arguments.filter_map(|call| Some(call.strip_prefix("(\"")?.split_once('"')?.0.to_owned())).collect()
}

/// Compares the rows of `docs/metrics.md` with what the program registers in that file.
fn compare_metrics(program: &str, file: &str) {
    let page = fs::read_to_string(root().join("docs/metrics.md")).expect("the page");
    let source = fs::read_to_string(root().join(file)).expect("the metrics' source");
    let prefix = format!("| `jobqueue_{program}_");
    let rows = page.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("` |"));
    // As they are exported: a counter's, an info's and a unit's suffix are not part of the name in the source.
    let bare = |name: &str| {
        let suffixes = ["_total", "_info", "_seconds"];
        suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name).to_owned()
    };
    let documented: BTreeSet<String> = rows.map(|(name, _)| bare(name)).collect();
    assert_eq!(documented, registered(&source), "left: on the page, right: in {file}");
}

#[test]
fn every_metric_of_the_worker_is_documented() {
    compare_metrics("worker", "worker/src/state/metrics.rs");
}

#[test]
fn every_metric_of_the_operator_is_documented() {
    compare_metrics("operator", "operator/src/metrics.rs");
}
