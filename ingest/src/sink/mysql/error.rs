//! What MariaDB's and MySQL's errors mean, by number (<https://mariadb.com/kb/en/mariadb-error-codes/>).

use sqlx::mysql::MySqlDatabaseError;

use crate::sink::failure::{Failure, of_driver, shorten, with_code};

/// Sorts an error into what to do about it.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    if let Some(failure) = of_driver(error) {
        return failure;
    }
    let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>()) else {
        return Failure::Away(shorten(&error.to_string()));
    };
    by_number(error.number(), with_code(words(error.message()), &format!("error {}", error.number())))
}

/// Deadlock, lock wait, record changed since it was read, a statement to be prepared again.
const CONTENTION: &[u16] = &[1213, 1205, 1020, 1615];

/// Interrupted, and the two statement time-outs.
const SLOW: &[u16] = &[1317, 1969, 3024];

/// Access to a database, wrong password, table, column, privilege, routine, plugin.
const DENIED: &[u16] = &[1044, 1045, 1142, 1143, 1227, 1370, 1698];

const FAILING: &[&[u16]] = &[
    // too many connections: in all, of the user, by a resource limit
    &[1040, 1203, 1226],
    // shutting down, killed, broken packets, idle too long, not ready (Galera)
    &[1053, 1927, 1080, 1152, 1158, 1159, 1160, 1161, 4031, 1047],
    // files, engine
    &[1026, 1030, 1180],
    // memory, prepared statements
    &[1037, 1038, 1041, 1461],
    // no such database
    &[1049],
];

/// An option forbids it: read-only, or another one.
const FORBIDDEN: u16 = 1290;

/// Transaction, server.
const READ_ONLY: &[u16] = &[1792, 1836];

/// Disk full, table full, cannot write a file, no space.
const FULL: &[u16] = &[1021, 1114, 3, 28];

/// No such table, no such column.
const MISFIT: &[u16] = &[1146, 1054];

/// Foreign keys, whose row may still come.
const FOREIGN_KEY: &[u16] = &[1452, 1216];

fn by_number(number: u16, words: String) -> Failure {
    if CONTENTION.contains(&number) {
        Failure::Contention(words)
    } else if SLOW.contains(&number) {
        Failure::Slow(words)
    } else if DENIED.contains(&number) {
        Failure::Denied(words)
    } else if MISFIT.contains(&number) {
        Failure::SchemaMismatch(words)
    } else if READ_ONLY.contains(&number) {
        Failure::ReadOnly(words)
    } else if number == FORBIDDEN {
        Failure::Forbidden(words)
    } else if FULL.contains(&number) {
        Failure::Full(words)
    } else if FAILING.iter().any(|group| group.contains(&number)) {
        Failure::Failing(words)
    } else {
        Failure::Refused { words, may_pass: FOREIGN_KEY.contains(&number) }
    }
}

/// The message without its row number, which counts within a statement of many jobs and would mislead.
fn words(message: &str) -> &str {
    match message.rfind(" at row ") {
        Some(at) if message[at + 8..].bytes().all(|byte| byte.is_ascii_digit()) => &message[..at],
        _ => message,
    }
}

/// Whether the row met another one's key. Which key, the error tells only in the server's language.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| matches!(error.number(), 1062 | 1586))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_row_numbers_dropped() {
        assert!(matches!(by_number(1213, String::new()), Failure::Contention(_)));
        assert!(matches!(by_number(1040, String::new()), Failure::Failing(_)));
        assert!(matches!(by_number(1792, String::new()), Failure::ReadOnly(_)));
        for number in [1021, 1114] {
            assert!(matches!(by_number(number, String::new()), Failure::Full(_)), "{number}");
        }
        assert!(matches!(by_number(1290, String::new()), Failure::Forbidden(_)));
        assert!(matches!(by_number(1146, String::new()), Failure::SchemaMismatch(_)));
        assert!(matches!(by_number(1045, String::new()), Failure::Denied(_)));
        assert!(matches!(by_number(1406, String::new()), Failure::Refused { may_pass: false, .. }));
        assert!(matches!(by_number(1452, String::new()), Failure::Refused { may_pass: true, .. }));
        assert_eq!(words("Data too long for column 'name' at row 37"), "Data too long for column 'name'");
        assert_eq!(words("look at row x"), "look at row x");
    }
}
