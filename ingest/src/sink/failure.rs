//! What a failed statement means: the record's fault, a collision that passes, a database that is away, or an answer that
//! leaves it open whose fault it is, which the engine finds out by experiment.

use std::io::ErrorKind;

use super::{Rejection, SinkError};

/// Longest piece of a database's words in a message, in characters.
const WORDS: usize = 300;

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The database does not serve us at the moment. No job is at fault.
    Away(String),
    /// It answers and takes no writes, as it says itself when it is asked. No job is at fault.
    Unwritable(String),
    /// The connection ended without a word.
    Broken(String),
    /// No transaction could be started, because another one has the whole database (SQLite): worth another try, and
    /// then the database counts as away.
    Busy(String),
    /// A statement was answered with trouble of the server's own (resources, internal errors), or with what the driver did
    /// not expect.
    Failing(String),
    /// The answer of a database that is read-only.
    ReadOnly(String),
    /// The answer of a database without room.
    Full(String),
    /// The server ended a statement that took too long.
    Slow(String),
    /// An option of the server forbids the statement. Which one, the error does not say: see [`super::store::Store::clarify`].
    Forbidden(String),
    /// The tables are not what the recipe needs, any more.
    SchemaMismatch(String),
    /// Wrong password, missing rights.
    Denied(String),
    /// Deadlock, serialization failure, lock time-out: the same transaction may well pass now.
    Contention(String),
    /// The rows: a constraint, a value that does not fit.
    Refused { words: String, may_pass: bool },
    /// A statement met the same key twice, or did not tell which of its rows has which id; row by row it will do.
    RepeatedKey(String),
}

impl Failure {
    /// A refusal of the rows that no later attempt changes, in these words, shortened.
    pub(super) fn refused(words: impl Into<String>) -> Self {
        Self::Refused { words: shorten(&words.into()), may_pass: false }
    }

    /// True where the answer does not tell whose fault it is: a trigger, a policy or a function may give it for one record
    /// as well as the server for all of them.
    pub(super) fn leaves_fault_open(&self) -> bool {
        matches!(
            self,
            Self::Failing(_)
                | Self::ReadOnly(_)
                | Self::Full(_)
                | Self::Slow(_)
                | Self::Forbidden(_)
                | Self::SchemaMismatch(_)
                | Self::Denied(_)
        )
    }

    /// True where the answer is about the rows of the statement.
    pub(super) fn is_of_rows(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::RepeatedKey(_))
    }

    /// Adds which table the statement was for.
    pub(super) fn of_table(self, table: &str) -> Self {
        let with = |words: String| words_of(table, &words);
        match self {
            Self::Refused { words, may_pass } => Self::Refused { words: with(words), may_pass },
            Self::Contention(words) => Self::Contention(with(words)),
            Self::Failing(words) => Self::Failing(with(words)),
            Self::ReadOnly(words) => Self::ReadOnly(with(words)),
            Self::Full(words) => Self::Full(with(words)),
            Self::Slow(words) => Self::Slow(with(words)),
            Self::Forbidden(words) => Self::Forbidden(with(words)),
            Self::SchemaMismatch(words) => Self::SchemaMismatch(with(words)),
            Self::Denied(words) => Self::Denied(with(words)),
            Self::RepeatedKey(words) => Self::RepeatedKey(with(words)),
            other @ (Self::Away(_) | Self::Unwritable(_) | Self::Broken(_) | Self::Busy(_)) => other,
        }
    }

    /// The error of a whole call. What a single statement of ours was refused for can only be a lack of rights or a
    /// foreign ledger, so that it counts as away.
    pub(super) fn into_error(self, endpoint: &str) -> SinkError {
        let endpoint = endpoint.to_owned();
        match self {
            Self::Denied(cause) => SinkError::Denied { endpoint, cause },
            Self::SchemaMismatch(cause) => SinkError::SchemaMismatch { endpoint, cause },
            Self::Unwritable(cause) => SinkError::Unwritable { endpoint, cause },
            Self::ReadOnly(words) => SinkError::Unwritable { endpoint, cause: format!("it is read-only ({words})") },
            Self::Full(words) => SinkError::Unwritable { endpoint, cause: format!("it has no room left ({words})") },
            Self::Away(cause)
            | Self::Broken(cause)
            | Self::Busy(cause)
            | Self::Failing(cause)
            | Self::Slow(cause)
            | Self::Forbidden(cause)
            | Self::Contention(cause)
            | Self::RepeatedKey(cause) => SinkError::Unavailable { endpoint, cause },
            Self::Refused { words, .. } => SinkError::Unavailable { endpoint, cause: words },
        }
    }

    /// What it means before anything was written: a server that closes every new connection is away.
    pub(super) fn before_transaction(self) -> Self {
        match self {
            Self::Broken(words) => Self::Away(words),
            other => other,
        }
    }

    /// What the database or the system said.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Away(words)
            | Self::Unwritable(words)
            | Self::Broken(words)
            | Self::Busy(words)
            | Self::Failing(words)
            | Self::ReadOnly(words)
            | Self::Full(words)
            | Self::Slow(words)
            | Self::Forbidden(words)
            | Self::SchemaMismatch(words)
            | Self::Denied(words)
            | Self::Contention(words)
            | Self::RepeatedKey(words)
            | Self::Refused { words, .. } => words,
        }
    }

    /// The verdict on a unit that stands alone. An answer that leaves it open whose fault it is may be another one at the
    /// next attempt.
    pub(super) fn into_rejection(self) -> Rejection {
        let may_pass = match self {
            Self::Refused { may_pass, .. } => may_pass,
            Self::RepeatedKey(_) => false,
            _ => true,
        };
        Rejection { message: self.into_words(), may_pass }
    }
}

/// Words that begin with the table: where the database named it itself, without its schema, they are completed.
fn words_of(table: &str, words: &str) -> String {
    let bare = table.rsplit('.').next().unwrap_or(table);
    let named = |name: &str| words.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ':']));
    if named(table) {
        words.to_owned()
    } else if named(bare) {
        format!("{}{words}", &table[..table.len() - bare.len()])
    } else {
        format!("{table}: {words}")
    }
}

/// The first [`WORDS`] characters, on one line.
pub(super) fn shorten(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= WORDS {
        return line;
    }
    line.chars().take(WORDS).chain("...".chars()).collect()
}

/// The database's words and its code for them, which no shortening takes away.
pub(super) fn with_code(words: &str, code: &str) -> String {
    format!("{} ({code})", shorten(words))
}

/// What is the same for all drivers: everything that is not the database's own error. `None` for a database's error.
pub(super) fn of_driver(error: &sqlx::Error) -> Option<Failure> {
    Some(match error {
        sqlx::Error::Database(_) => return None,
        sqlx::Error::PoolTimedOut => Failure::Away("no connection became free in time".into()),
        sqlx::Error::Io(error) => match error.kind() {
            ErrorKind::UnexpectedEof => Failure::Broken("the connection was closed".into()),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Failure::Broken(error.to_string())
            }
            _ => Failure::Away(error.to_string()),
        },
        sqlx::Error::RowNotFound => Failure::Failing(
            "the database gave no row back for one that it took: a trigger or a rule left it out".into(),
        ),
        sqlx::Error::Protocol(_)
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_) => {
            Failure::Failing(shorten(&format!("the database's answer was not what was expected: {error}")))
        }
        other => Failure::Away(shorten(&other.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_outlives_the_shortening() {
        let words = with_code(&"long ".repeat(200), "SQLSTATE 22001");
        assert!(words.ends_with("... (SQLSTATE 22001)"), "{words}");
        assert_eq!(with_code("a\nb", "error 1"), "a b (error 1)");
    }

    #[test]
    fn words_begin_with_the_table() {
        assert_eq!(words_of("ev", "event: no"), "ev: event: no");
        assert_eq!(words_of("shop.ev", "ev.name: no"), "shop.ev.name: no");
        assert_eq!(words_of("shop.ev", "no"), "shop.ev: no");
        assert_eq!(words_of("ev", "ev: no"), "ev: no");
    }

    #[test]
    fn what_is_open_may_pass_and_names_the_table() {
        let denied = Failure::Denied("permission denied".into()).of_table("company");
        assert!(denied.leaves_fault_open());
        let rejection = denied.into_rejection();
        assert_eq!((rejection.message.as_str(), rejection.may_pass), ("company: permission denied", true));
        assert!(!Failure::refused("too long").leaves_fault_open());
        assert!(of_driver(&sqlx::Error::RowNotFound).is_some_and(|failure| failure.leaves_fault_open()));
    }
}
