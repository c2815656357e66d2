//! Holds habits of this code base: a file opens with a `//!` that says what it is for, and is not long; a lint is never
//! silenced without a reason. How long a function may be says `clippy.toml`.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a file may have.
const LONGEST: usize = 450;

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory is readable") {
        let path = entry.expect("an entry is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut found = Vec::new();
    rust_files(root, &mut found);
    assert!(found.len() > 20, "the search finds the sources");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("a source is text"))).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}

#[test]
fn no_file_is_long() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .collect();
    assert!(long.is_empty(), "more than {LONGEST} lines: split {long:?} by topic");
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    let bare = ["#[", "allow("].concat();
    let found: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains(&bare)).map(|(path, _)| path).collect();
    assert!(found.is_empty(), "use #[expect(lint, reason = \"..\")] in {found:?}");
}
