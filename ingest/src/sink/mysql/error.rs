//! What MariaDB's and MySQL's errors mean, by number (<https://mariadb.com/kb/en/mariadb-error-codes/>).

use sqlx::mysql::MySqlDatabaseError;

use crate::sink::failure::{Failure, of_driver, shorten};

/// Sorts an error into what to do about it.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    if let Some(failure) = of_driver(error) {
        return failure;
    }
    let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>()) else {
        return Failure::Away(shorten(&error.to_string()));
    };
    by_number(error.number(), words(error.message()))
}

/// Deadlock, lock wait, record changed since it was read, a statement to be prepared again, interrupted, and the two
/// statement time-outs.
const CONTENTION: &[u16] = &[1213, 1205, 1020, 1615, 1317, 1969, 3024];

/// Access to a database, wrong password, table, column, privilege, routine, plugin.
const DENIED: &[u16] = &[1044, 1045, 1142, 1143, 1227, 1370, 1698];

const AWAY: &[&[u16]] = &[
    // too many connections: in all, of the user, by a resource limit
    &[1040, 1203, 1226],
    // shutting down, killed, broken packets, idle too long, not ready (Galera)
    &[1053, 1927, 1080, 1152, 1158, 1159, 1160, 1161, 4031, 1047],
    // an option forbids it, files, engine
    &[1290, 1026, 1030, 1180],
    // memory, prepared statements
    &[1037, 1038, 1041, 1461],
    // no such database
    &[1049],
];

/// Transaction, server; an option (1290) is read-only or another one, which only its words tell.
const READ_ONLY: &[u16] = &[1792, 1836];

/// Disk full, table full, cannot write a file, no space.
const FULL: &[u16] = &[1021, 1114, 3, 28];

/// No such table, no such column.
const MISFIT: &[u16] = &[1146, 1054];

/// Foreign keys, whose row may still come.
const FOREIGN_KEY: &[u16] = &[1452, 1216];

fn of_read_only(words: &str) -> bool {
    words.contains("read-only") || words.contains("read_only")
}

fn by_number(number: u16, words: String) -> Failure {
    if CONTENTION.contains(&number) {
        Failure::Contention(words)
    } else if DENIED.contains(&number) {
        Failure::Denied(words)
    } else if MISFIT.contains(&number) {
        Failure::Misfit(words)
    } else if READ_ONLY.contains(&number) || (number == 1290 && of_read_only(&words)) {
        Failure::read_only(&words)
    } else if FULL.contains(&number) {
        Failure::full(&words)
    } else if AWAY.iter().any(|group| group.contains(&number)) {
        Failure::Away(words)
    } else {
        Failure::Refused { words, may_pass: FOREIGN_KEY.contains(&number) }
    }
}

/// The message without its row number, which counts within a statement of many jobs and would mislead.
fn words(message: &str) -> String {
    let words = match message.rfind(" at row ") {
        Some(at) if message[at + 8..].bytes().all(|byte| byte.is_ascii_digit()) => &message[..at],
        _ => message,
    };
    shorten(words)
}

/// The index that a duplicate hit: the last quoted word, `table.index` or `index`.
pub(super) fn duplicate_key(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    if error.number() != 1062 {
        return None;
    }
    let quoted = error.message().strip_suffix('\'')?;
    let index = &quoted[quoted.rfind('\'')? + 1..];
    Some(index.rsplit('.').next().unwrap_or(index).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_and_row_numbers_dropped() {
        assert!(matches!(by_number(1213, String::new()), Failure::Contention(_)));
        assert!(matches!(by_number(1040, String::new()), Failure::Away(_)));
        for (number, words) in [(1290, "running with the --read-only option"), (1792, ""), (1021, ""), (1114, "")] {
            assert!(matches!(by_number(number, words.into()), Failure::Unwritable(_)), "{number}");
        }
        assert!(matches!(by_number(1290, "the --secure-file-priv option".into()), Failure::Away(_)));
        assert!(matches!(by_number(1146, String::new()), Failure::Misfit(_)));
        assert!(matches!(by_number(1045, String::new()), Failure::Denied(_)));
        assert!(matches!(by_number(1406, String::new()), Failure::Refused { may_pass: false, .. }));
        assert!(matches!(by_number(1452, String::new()), Failure::Refused { may_pass: true, .. }));
        assert_eq!(words("Data too long for column 'name' at row 37"), "Data too long for column 'name'");
        assert_eq!(words("look at row x"), "look at row x");
    }
}
