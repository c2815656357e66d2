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

impl SinkError {
    /// What a person can check, where something can be said: one clause that may follow the error or stand alone. What is
    /// wrong with a file is said by its message.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable { endpoint, .. } | Self::Disconnected { endpoint, .. } if !is_file(endpoint) => {
                Some("check that the database runs at this address and can be reached from here")
            }
            Self::Denied { cause, .. } if is_about_certificates(cause) => Some(
                "check the certificates in the database's URL: ssl-ca, ssl-cert and ssl-key; ssl-mode says what is checked",
            ),
            Self::Denied { endpoint, .. } if !is_file(endpoint) => Some(
                "check user and password in the URL (--database or JOBQUEUE_DATABASE_URL), where characters such as @, / and % \
                 are percent-encoded, and that the user may write to the tables of the recipe",
            ),
            _ => None,
        }
    }
}

fn is_about_certificates(cause: &str) -> bool {
    let cause = cause.to_lowercase();
    ["certificate", "fatal alert", "unknownissuer"].iter().any(|sign| cause.contains(sign))
}

fn is_file(endpoint: &str) -> bool {
    endpoint.starts_with("sqlite:")
}
