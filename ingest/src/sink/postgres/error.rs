//! What PostgreSQL's errors mean, by SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use sqlx::postgres::PgDatabaseError;

use crate::sink::failure::{Failure, of_driver, shorten};

/// Sorts an error into what to do about it.
pub(super) fn classify(error: &sqlx::Error) -> Failure {
    if let Some(failure) = of_driver(error) {
        return failure;
    }
    let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
        return Failure::Away(shorten(&error.to_string()));
    };
    by_state(error.code(), words(error))
}

fn by_state(state: &str, words: String) -> Failure {
    match state {
        // serialization_failure, deadlock_detected, lock_not_available, query_canceled; then a prepared statement that a
        // pooler or a change of the schema took away: the next attempt prepares it anew
        "40001" | "40P01" | "55P03" | "57014" | "26000" | "0A000" => Failure::Contention(words),
        // ON CONFLICT DO UPDATE met a row twice
        "21000" => Failure::RepeatedKey(words),
        "23503" => Failure::Refused { words, may_pass: true },
        // insufficient_privilege, invalid_authorization
        "42501" => Failure::Denied(words),
        // undefined schema, table, column
        "3F000" | "42P01" | "42703" => Failure::Misfit(words),
        // read_only_sql_transaction, disk_full
        "25006" => Failure::read_only(&words),
        "53100" => Failure::full(&words),
        // idle_in_transaction_session_timeout, undefined database
        "25P03" | "3D000" => Failure::Away(words),
        _ => match &state[..2.min(state.len())] {
            "28" => Failure::Denied(words),
            // connection, resources, intervention (shutting down), system, configuration file, internal
            "08" | "53" | "57" | "58" | "F0" | "XX" => Failure::Away(words),
            _ => Failure::Refused { words, may_pass: false },
        },
    }
}

/// The message with its detail and, where PostgreSQL knows it, the column.
fn words(error: &PgDatabaseError) -> String {
    let mut words = error.message().to_owned();
    if let Some(detail) = error.detail() {
        words = format!("{words}: {detail}");
    }
    match (error.table(), error.column()) {
        (None, None) => match error.r#where().and_then(copied_column) {
            Some(column) => shorten(&format!("column {column}: {words}")),
            None => shorten(&words),
        },
        (Some(table), Some(column)) => shorten(&format!("{table}.{column}: {words}")),
        _ => shorten(&words),
    }
}

/// The column that COPY was at, which the error itself does not name: `COPY t, line 3, column price: "x"`.
fn copied_column(context: &str) -> Option<&str> {
    let (_, column) = context.strip_prefix("COPY ")?.lines().next()?.split_once(", column ")?;
    Some(column.split([':', ',']).next().unwrap_or(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_a_copy_is_in_its_context() {
        assert_eq!(copied_column("COPY t, line 3, column price: \"1,5\""), Some("price"));
        assert_eq!(copied_column("COPY t, line 3, column price, null input"), Some("price"));
        assert_eq!(copied_column("COPY t, line 3: \"1\""), None);
        assert_eq!(copied_column("PL/pgSQL function f() line 3"), None);
    }

    #[test]
    fn states_are_sorted_into_what_to_do() {
        let sort = |state| by_state(state, String::new());
        for state in ["57P01", "57P02", "57P03", "53300", "08006", "58030"] {
            assert!(matches!(sort(state), Failure::Away(_)), "{state}");
        }
        for state in ["25006", "53100"] {
            assert!(matches!(sort(state), Failure::Unwritable(_)), "{state}");
        }
        for state in ["42P01", "42703"] {
            assert!(matches!(sort(state), Failure::Misfit(_)), "{state}");
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
}
