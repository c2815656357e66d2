//! What a failed statement means: the record's fault, a collision that passes, or a database that is away.

use std::io::ErrorKind;

use super::{Rejection, SinkError};

/// Longest piece of a database's words in a message, in characters.
const WORDS: usize = 300;

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The database does not serve us at the moment. No job is at fault.
    Away(String),
    /// It answers and takes no writes: read-only, or its disk is full. No job is at fault.
    Unwritable(String),
    /// The tables are not what the recipe needs, any more. No job is at fault.
    Misfit(String),
    /// The connection ended without a word.
    Broken(String),
    /// Wrong password, missing rights.
    Denied(String),
    /// Deadlock, serialization failure, lock time-out: the same transaction may well pass now.
    Contention(String),
    /// No transaction could be started, because another one has the whole database (SQLite): worth another try, and
    /// then the database counts as away.
    Busy(String),
    /// The rows: a constraint, a value that does not fit.
    Refused { words: String, may_pass: bool },
    /// A statement met the same key twice, or did not tell which of its rows has which id; row by row it will do.
    RepeatedKey(String),
}

impl Failure {
    pub(super) fn refused(words: impl Into<String>) -> Self {
        Self::Refused { words: shorten(&words.into()), may_pass: false }
    }

    /// A database that takes no writes at the moment, in its own `words`.
    pub(super) fn read_only(words: &str) -> Self {
        Self::Unwritable(format!("it is read-only ({words})"))
    }

    /// The same for want of room.
    pub(super) fn full(words: &str) -> Self {
        Self::Unwritable(format!("it has no room left ({words})"))
    }

    /// Adds which table the statement was for.
    pub(super) fn of_table(self, table: &str) -> Self {
        let with = |words: String| if words.starts_with(table) { words } else { format!("{table}: {words}") };
        match self {
            Self::Refused { words, may_pass } => Self::Refused { words: with(words), may_pass },
            Self::Contention(words) => Self::Contention(with(words)),
            Self::Busy(words) => Self::Busy(words),
            Self::Away(words) => Self::Away(words),
            Self::Unwritable(words) => Self::Unwritable(words),
            Self::Misfit(words) => Self::Misfit(with(words)),
            Self::Broken(words) => Self::Broken(words),
            Self::Denied(words) => Self::Denied(with(words)),
            Self::RepeatedKey(words) => Self::RepeatedKey(with(words)),
        }
    }

    /// The error of a whole call. What a single statement of ours was refused for can only be a lack of rights or a
    /// foreign ledger, so that it counts as away.
    pub(super) fn into_error(self, endpoint: &str) -> SinkError {
        let endpoint = endpoint.to_owned();
        match self {
            Self::Denied(cause) => SinkError::Denied { endpoint, cause },
            Self::Misfit(cause) => SinkError::Misfit { endpoint, cause },
            Self::Unwritable(cause) => SinkError::Unwritable { endpoint, cause },
            Self::Away(cause)
            | Self::Broken(cause)
            | Self::Busy(cause)
            | Self::Contention(cause)
            | Self::RepeatedKey(cause) => SinkError::Unavailable { endpoint, cause },
            Self::Refused { words, .. } => SinkError::Unavailable { endpoint, cause: words },
        }
    }

    /// What it means before anything was written: a server that hangs up on whoever comes is away.
    pub(super) fn at_the_door(self) -> Self {
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
            | Self::Misfit(words)
            | Self::Broken(words)
            | Self::Denied(words)
            | Self::Contention(words)
            | Self::Busy(words)
            | Self::RepeatedKey(words)
            | Self::Refused { words, .. } => words,
        }
    }

    /// The verdict on a unit that stands alone.
    pub(super) fn into_rejection(self) -> Result<Rejection, Self> {
        match self {
            Self::Refused { words, may_pass } => Ok(Rejection { message: words, may_pass }),
            Self::Contention(words) => Ok(Rejection { message: words, may_pass: true }),
            Self::RepeatedKey(words) => Ok(Rejection { message: words, may_pass: false }),
            away => Err(away),
        }
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
        other => Failure::Away(shorten(&other.to_string())),
    })
}
