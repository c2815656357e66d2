//! The failure of a whole call to a database, as the caller of a [`super::Sink`] gets it.

/// The database as a whole failed us. No variant carries a password.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Down, failing over, out of connections: try again later.
    #[error("the database at {endpoint} is not available: {cause}")]
    Unavailable {
        /// Redacted URL.
        endpoint: String,
        /// The database's words.
        cause: String,
    },
    /// It answers and takes no writes: it is read-only, or full. Try again later.
    #[error("the database at {endpoint} takes no writes: {cause}")]
    Unwritable {
        /// Redacted URL.
        endpoint: String,
        /// Which of the two, and the database's words.
        cause: String,
    },
    /// The connection ended without a word while a transaction was being written. The network or the server may be at
    /// fault, or what was written.
    #[error("the connection to the database at {endpoint} ended while it was written to: {cause}")]
    Disconnected {
        /// Redacted URL.
        endpoint: String,
        /// The system's words.
        cause: String,
    },
    /// Wrong password or missing rights.
    #[error("the database at {endpoint} refused us: {cause}")]
    Denied {
        /// Redacted URL.
        endpoint: String,
        /// The database's words.
        cause: String,
    },
    /// Tables or columns are not what the recipe needs, though they were when it was checked: the schema was changed since.
    #[error("the tables of the database at {endpoint} are not what the recipe needs: {cause}")]
    SchemaMismatch {
        /// Redacted URL.
        endpoint: String,
        /// What is missing, or the database's words.
        cause: String,
    },
    /// A URL or setting is wrong.
    #[error("{0}")]
    Config(String),
}
