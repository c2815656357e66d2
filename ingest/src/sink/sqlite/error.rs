//! What SQLite's result codes mean (<https://www.sqlite.org/rescode.html>).

use crate::sink::failure::{Failure, of_driver, shorten, with_code};

/// Sorts an error into what to do about it.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    if let Some(failure) = of_driver(error) {
        return failure;
    }
    let Some(error) = error.as_database_error() else { return Failure::Away(shorten(&error.to_string())) };
    let code = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
    by_code(code, with_code(error.message(), &format!("code {code}")))
}

fn by_code(code: i32, words: String) -> Failure {
    // A foreign key, whose row may still come.
    if code == 787 {
        return Failure::Refused { words, may_pass: true };
    }
    // The file that connections share cannot grow (SQLITE_IOERR_SHMSIZE): a first connection finds no room for it.
    if code == 4874 {
        return Failure::Full(words);
    }
    // The low byte is the primary code.
    match code & 0xff {
        // busy, locked, schema changed
        5 | 6 | 17 => Failure::Contention(words),
        // not permitted, authorization
        3 | 23 => Failure::Denied(words),
        8 => Failure::ReadOnly(words),
        13 => Failure::Full(words),
        // An error of the statement, as for a missing table; memory, interrupted, I/O, corrupt, cannot open, lock protocol,
        // no database
        1 | 7 | 9 | 10 | 11 | 14 | 15 | 26 => Failure::Failing(words),
        _ => Failure::Refused { words, may_pass: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted() {
        assert!(matches!(by_code(517, String::new()), Failure::Contention(_)));
        assert!(matches!(by_code(266, String::new()), Failure::Failing(_)));
        assert!(matches!(by_code(13, String::new()), Failure::Full(_)));
        assert!(matches!(by_code(4874, String::new()), Failure::Full(_)));
        assert!(matches!(by_code(1032, String::new()), Failure::ReadOnly(_)));
        assert!(matches!(by_code(787, String::new()), Failure::Refused { may_pass: true, .. }));
        assert!(matches!(by_code(2067, String::new()), Failure::Refused { may_pass: false, .. }));
        assert!(matches!(by_code(1, "no such table: x".into()), Failure::Failing(_)));
    }
}
