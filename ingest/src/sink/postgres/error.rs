//! What PostgreSQL's errors mean, by SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::sink::failure::{Failure, of_driver, shorten, with_code};

/// Sorts an error into what to do about it.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    if let Some(failure) = of_driver(error) {
        return failure;
    }
    let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
        return Failure::Away(shorten(&error.to_string()));
    };
    if matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) {
        return last_word(error.code(), words(error));
    }
    by_state(error.code(), words(error))
}

/// What a server says before it ends the connection: it accepts no connection, or something ended the session, as the statement
/// may have done.
fn last_word(state: &str, words: String) -> Failure {
    match (state, &state[..2.min(state.len())]) {
        (_, "28") => Failure::Denied(words),
        ("57P03" | "3D000", _) | (_, "08" | "53") => Failure::Away(words),
        _ => Failure::Broken(words),
    }
}

fn by_state(state: &str, words: String) -> Failure {
    match state {
        // serialization_failure, deadlock_detected, lock_not_available, query_canceled; then a prepared statement that a
        // pooler or a change of the schema took away: the next attempt prepares it anew
        "57014" => Failure::Slow(words),
        "40001" | "40P01" | "55P03" | "26000" | "0A000" => Failure::Contention(words),
        // ON CONFLICT DO UPDATE met a row twice
        "21000" => Failure::RepeatedKey(words),
        "23503" => Failure::Refused { words, may_pass: true },
        // insufficient_privilege, invalid_authorization
        "42501" => Failure::Denied(words),
        // undefined schema, table, column
        "3F000" | "42P01" | "42703" => Failure::SchemaMismatch(words),
        // read_only_sql_transaction, disk_full
        "25006" => Failure::ReadOnly(words),
        "53100" => Failure::Full(words),
        // idle_in_transaction_session_timeout, undefined database
        "25P03" | "3D000" => Failure::Failing(words),
        _ => match &state[..2.min(state.len())] {
            "28" => Failure::Denied(words),
            // connection, resources, intervention (shutting down), system, configuration file, internal
            "08" | "53" | "57" | "58" | "F0" | "XX" => Failure::Failing(words),
            _ => Failure::Refused { words, may_pass: false },
        },
    }
}

/// The message with its detail and, where PostgreSQL knows them, the table, the column, the constraint and the function that
/// raised it.
fn words(error: &PgDatabaseError) -> String {
    let mut words = error.message().to_owned();
    let mut add = |more: &str| {
        if !words.contains(more) {
            words = format!("{words}: {more}");
        }
    };
    error.detail().into_iter().for_each(&mut add);
    error.constraint().into_iter().for_each(|name| add(&format!("constraint \"{name}\"")));
    error.r#where().and_then(|context| context.lines().next()).into_iter().for_each(add);
    let place = match (error.table(), error.column()) {
        (Some(table), Some(column)) => format!("{table}.{column}: "),
        (Some(table), None) => format!("{table}: "),
        _ => String::new(),
    };
    with_code(&format!("{place}{words}"), &format!("SQLSTATE {}", error.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_into_what_to_do() {
        let sort = |state| by_state(state, String::new());
        for state in ["57P01", "57P02", "57P03", "53300", "08006", "58030", "XX000"] {
            assert!(matches!(sort(state), Failure::Failing(_)), "{state}");
        }
        assert!(matches!(sort("25006"), Failure::ReadOnly(_)));
        assert!(matches!(sort("53100"), Failure::Full(_)));
        for state in ["42P01", "42703"] {
            assert!(matches!(sort(state), Failure::SchemaMismatch(_)), "{state}");
        }
        for state in ["40001", "40P01", "55P03"] {
            assert!(matches!(sort(state), Failure::Contention(_)), "{state}");
        }
        for state in ["28P01", "28000", "42501"] {
            assert!(matches!(sort(state), Failure::Denied(_)), "{state}");
        }
        for state in ["22001", "23505", "23502", "23514", "22P02", "P0001"] {
            assert!(matches!(sort(state), Failure::Refused { may_pass: false, .. }), "{state}");
        }
        assert!(matches!(sort("23503"), Failure::Refused { may_pass: true, .. }));
    }

    #[test]
    fn what_ends_a_session_is_told_from_what_keeps_one_from_beginning() {
        let last = |state| last_word(state, String::new());
        for state in ["57P01", "57P02", "25P03", "XX000"] {
            assert!(matches!(last(state), Failure::Broken(_)), "{state}");
        }
        for state in ["57P03", "53300", "3D000", "08P01"] {
            assert!(matches!(last(state), Failure::Away(_)), "{state}");
        }
        assert!(matches!(last("28P01"), Failure::Denied(_)));
    }
}
