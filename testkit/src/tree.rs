//! The files of this repository, for tests that hold habits of its code and prose.

use std::fs;
use std::path::{Path, PathBuf};

/// The text files of the repository whose names end in one of `extensions` (without the dot), with their paths from its top
/// level. Folders that are built or hidden are left out.
///
/// # Panics
/// If a folder cannot be read, or a file is not text.
pub fn files(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut found = Vec::new();
    collect(root, extensions, &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a file of ours is text");
        (path.strip_prefix(root).expect("it lies in the repository").to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

fn collect(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a folder is readable") {
        let path = entry.expect("an entry is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "target" | "node_modules") && !name.starts_with('.') {
                collect(&path, extensions, found);
            }
        } else if path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| extensions.contains(&ending))
        {
            found.push(path);
        }
    }
}
