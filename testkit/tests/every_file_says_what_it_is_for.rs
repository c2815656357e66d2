//! Holds habits of this code base: a file opens with a `//!` that says what it is for, and is not long; a lint is never
//! silenced without a reason. How long a function may be says `clippy.toml`.

use std::path::PathBuf;

use jobqueue_testkit::tree::files;

/// Lines that a file may have.
const LONGEST: usize = 450;

fn sources() -> Vec<(PathBuf, String)> {
    let found = files(&["rs"]);
    assert!(found.len() > 20, "the search finds the sources");
    found
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
