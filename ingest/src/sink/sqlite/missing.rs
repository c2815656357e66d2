//! Why a file cannot be opened: SQLite says no more than "unable to open database file".

use std::path::{Path, absolute};

/// SQLite's words, or what is missing and what to do about it.
pub(super) fn explain(path: &Path, words: String) -> String {
    // A relative path is one from the directory of the process, which its reader need not know.
    let path = absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let shown = path.display();
    let directory = path.parent().unwrap_or(&path);
    if !directory.is_dir() {
        return format!("there is no directory {}: create it, or correct the path", directory.display());
    }
    if path.is_dir() {
        return format!("{shown} is a directory: add the name of a file");
    }
    if !path.exists() {
        return format!(
            "there is no file {shown} ({words}): correct the path, create it with its tables, or end the URL with \
             ?mode=rwc to have an empty one made"
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_and_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let said = |path: &Path| explain(path, "unable to open database file".into());
        let nowhere = place.path().join("no/such/shop.sqlite");
        let expected = format!("there is no directory {}: create it", place.path().join("no/such").display());
        assert!(said(&nowhere).starts_with(&expected), "{}", said(&nowhere));
        assert!(said(place.path()).ends_with("is a directory: add the name of a file"));
        let file = place.path().join("shop.sqlite");
        assert!(said(&file).contains(&format!("there is no file {}", file.display())), "{}", said(&file));
        assert!(said(&file).contains("?mode=rwc"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(said(&file), "unable to open database file");
        assert!(said(Path::new("no/shop.sqlite")).contains(&absolute("no").unwrap().display().to_string()));
    }
}
