//! A password that is in a file, and not in the URL.

use std::path::Path;

use url::Url;

use super::{Address, DatabaseUrl, SinkError, wrong};

impl DatabaseUrl {
    /// The same with the password in a file, which is read before connections are made: it may change, as tokens do.
    ///
    /// # Errors
    /// `Config` for a file, and for a URL with a password.
    pub fn with_password_file(mut self, file: &Path) -> Result<Self, SinkError> {
        let Address::Server(servers) = &self.address else {
            return Err(wrong("an SQLite file has no password; give no password file"));
        };
        let has_one = |url: &Url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password");
        if servers.urls.iter().any(has_one) {
            return Err(wrong("the URL has a password, and there is a password file: remove one of them"));
        }
        self.password_file = Some(file.to_owned());
        Ok(self)
    }

    /// Where the password is, if it is in a file.
    pub(in crate::sink) fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }

    /// Whether the URL asks for TLS.
    pub(in crate::sink) fn demands_tls(url: &Url) -> bool {
        const DEMANDS: [&str; 3] = ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];
        let demands = |value: &str| DEMANDS.contains(&value.to_ascii_uppercase().as_str());
        url.query_pairs().any(|(name, value)| (name == "sslmode" || name == "ssl-mode") && demands(&value))
    }
}
