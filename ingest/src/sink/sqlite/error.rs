//! What SQLite's result codes mean (<https://www.sqlite.org/rescode.html>).

use crate::sink::failure::{Failure, of_driver, shorten};

/// Sorts an error into what to do about it.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    if let Some(failure) = of_driver(error) {
        return failure;
    }
    let Some(error) = error.as_database_error() else { return Failure::Away(shorten(&error.to_string())) };
    let code = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    by_code(code, shorten(error.message()))
}

fn by_code(code: i32, words: String) -> Failure {
    // A foreign key, whose row may still come.
    if code == 787 {
        return Failure::Refused { words, may_pass: true };
    }
    // The low byte is the primary code.
    match code & 0xff {
        // busy, locked, schema changed
        5 | 6 | 17 => Failure::Contention(words),
        // not permitted, authorization
        3 | 23 => Failure::Denied(words),
        8 => Failure::read_only(&words),
        13 => Failure::full(&words),
        // memory, interrupted, I/O, corrupt, cannot open, lock protocol, no database
        7 | 9 | 10 | 11 | 14 | 15 | 26 => Failure::Away(words),
        // A table or column that was there when the recipe was checked.
        1 if words.starts_with("no such ") || words.contains("has no column named") => Failure::Misfit(words),
        _ => Failure::Refused { words, may_pass: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted() {
        assert!(matches!(by_code(517, String::new()), Failure::Contention(_)));
        assert!(matches!(by_code(266, String::new()), Failure::Away(_)));
        assert!(matches!(by_code(13, String::new()), Failure::Unwritable(_)));
        assert!(matches!(by_code(1032, String::new()), Failure::Unwritable(_)));
        assert!(matches!(by_code(787, String::new()), Failure::Refused { may_pass: true, .. }));
        assert!(matches!(by_code(2067, String::new()), Failure::Refused { may_pass: false, .. }));
        assert!(matches!(by_code(1, "no such table: x".into()), Failure::Misfit(_)));
    }
}
