//! Where a database is: one string in one format everywhere, that never prints its password.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use url::Url;

use super::SinkError;

/// The databases that rows can land in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum DatabaseKind {
    /// PostgreSQL 12 or later.
    Postgres,
    /// MariaDB 10.5 or later, MySQL 8.0 or later.
    Mysql,
    /// SQLite 3.35 or later (it is built in).
    Sqlite,
}

/// A parsed connection URL: `postgres://`, `mysql://` (or `mariadb://`), or `sqlite:path`. `Display` and `Debug` print
/// it with every secret replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    kind: DatabaseKind,
    place: Place,
}

/// Files (PEM) for TLS with the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The authority that signed the server's certificate; none: the public ones.
    pub authority: Option<PathBuf>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Server(Url),
    File { path: PathBuf, mode: FileMode },
}

/// What may happen to an SQLite file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileMode {
    /// It has to exist: a mistyped path must not become an empty database.
    ReadWrite,
    /// `?mode=rwc`: it is created if it is missing.
    Create,
}

/// Parameters that sqlx understands; an unknown one is refused instead of being silently without effect.
const POSTGRES_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
const MYSQL_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslca",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "socket",
];

impl DatabaseUrl {
    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The server's host; none for a file.
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Server(url) => url.host_str(),
            Place::File { .. } => None,
        }
    }

    /// The path of an SQLite file; none for a server.
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::Server(_) => None,
            Place::File { path, .. } => Some(path),
        }
    }

    /// The same with certificates from files, for TLS. Where the URL does not say how the server's certificate is checked,
    /// it is checked in full.
    ///
    /// # Errors
    /// `Config` for a file, which needs no TLS.
    pub fn with_certificates(mut self, certificates: &Certificates) -> Result<Self, SinkError> {
        let Certificates { authority, certificate, key } = certificates;
        let files = [("ssl-ca", authority), ("ssl-cert", certificate), ("ssl-key", key)];
        let files = files.into_iter().filter_map(|(name, file)| file.as_ref().map(|file| (name, file)));
        let files: Vec<(&str, &PathBuf)> = files.collect();
        if files.is_empty() {
            return Ok(self);
        }
        let Place::Server(url) = &mut self.place else {
            return Err(wrong("an SQLite file is not reached over TLS; give no certificates"));
        };
        let checks = url.query_pairs().any(|(name, _)| name == "sslmode" || name == "ssl-mode");
        let mut parameters = url.query_pairs_mut();
        if !checks {
            let in_full = if self.kind == DatabaseKind::Mysql { "VERIFY_IDENTITY" } else { "verify-full" };
            parameters.append_pair("ssl-mode", in_full);
        }
        for (name, file) in files {
            parameters.append_pair(name, &file.to_string_lossy());
        }
        drop(parameters);
        Ok(self)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl FromStr for DatabaseUrl {
    type Err = SinkError;

    fn from_str(text: &str) -> Result<Self, SinkError> {
        let text = text.trim();
        let scheme = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match scheme.as_str() {
            "postgres" | "postgresql" => server(DatabaseKind::Postgres, text, "postgres", POSTGRES_PARAMETERS),
            "mysql" | "mariadb" => server(DatabaseKind::Mysql, text, "mysql", MYSQL_PARAMETERS),
            "sqlite" => file(&text["sqlite:".len()..]),
            _ => Err(wrong("it has to start with postgres://, mysql://, mariadb:// or sqlite:")),
        }
    }
}

/// The text itself is never part of a message: it may hold a password, and what cannot be parsed cannot be redacted.
fn wrong(reason: &str) -> SinkError {
    SinkError::Config(format!("the database URL cannot be used: {reason}"))
}

fn server(kind: DatabaseKind, text: &str, scheme: &str, known: &[&str]) -> Result<DatabaseUrl, SinkError> {
    let rest = text.split_once("://").ok_or_else(|| wrong(&format!("`{scheme}:` needs `//` and a host")))?.1;
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| {
        wrong(&format!("{error} (in a password, write / as %2F, @ as %40, : as %3A, # as %23, ? as %3F and % as %25)"))
    })?;
    if url.fragment().is_some() {
        return Err(wrong("it has a `#`; in a password write it as %23"));
    }
    for (name, _) in url.query_pairs() {
        let setting = kind == DatabaseKind::Postgres && name.starts_with("options[");
        if !setting && !known.contains(&&*name) {
            return Err(wrong(&format!("it has the unknown parameter `{name}`; known are {}", known.join(", "))));
        }
    }
    let named = url.path().trim_matches('/');
    if named.is_empty() && !url.query_pairs().any(|(name, _)| name == "dbname") {
        return Err(wrong(&format!("it names no database: {scheme}://user:password@host/DATABASE")));
    }
    Ok(DatabaseUrl { kind, place: Place::Server(url) })
}

fn file(rest: &str) -> Result<DatabaseUrl, SinkError> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let mode = match parameters {
        "" | "mode=rw" => FileMode::ReadWrite,
        "mode=rwc" => FileMode::Create,
        _ => return Err(wrong("sqlite takes the parameters `mode=rw` and `mode=rwc` only")),
    };
    if path.is_empty() {
        return Err(wrong("`sqlite:` needs a path, e.g. sqlite:companies.sqlite"));
    }
    if path.contains(":memory:") {
        return Err(wrong("a database in memory would end with the connection; give a file"));
    }
    Ok(DatabaseUrl { kind: DatabaseKind::Sqlite, place: Place::File { path: path.into(), mode } })
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, .. } => write!(f, "sqlite:{}", path.display()),
            Place::Server(url) => {
                write!(f, "{}://", url.scheme())?;
                if !url.username().is_empty() || url.password().is_some() {
                    write!(f, "{}{}@", url.username(), if url.password().is_some() { ":***" } else { "" })?;
                }
                write!(f, "{}", url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                write!(f, "{}", url.path())?;
                for (index, (name, value)) in url.query_pairs().enumerate() {
                    let value = if name.contains("pass") { "***".into() } else { value };
                    write!(f, "{}{name}={value}", if index == 0 { '?' } else { '&' })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> DatabaseUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        text.parse::<DatabaseUrl>().unwrap_err().to_string()
    }

    #[test]
    fn every_scheme_is_known_and_the_password_is_never_printed() {
        for (text, kind, printed) in [
            (
                "postgres://u:s3cret@db:5433/shop?sslmode=require",
                DatabaseKind::Postgres,
                "postgres://u:***@db:5433/shop?sslmode=require",
            ),
            ("postgresql://u@db/shop?password=s3cret", DatabaseKind::Postgres, "postgres://u@db/shop?password=***"),
            ("mariadb://u:s3cret@db/shop", DatabaseKind::Mysql, "mysql://u:***@db/shop"),
            ("mysql://db/shop", DatabaseKind::Mysql, "mysql://db/shop"),
            ("sqlite:data/shop.sqlite", DatabaseKind::Sqlite, "sqlite:data/shop.sqlite"),
            ("sqlite:///data/shop.sqlite?mode=rwc", DatabaseKind::Sqlite, "sqlite:/data/shop.sqlite"),
        ] {
            let url = parsed(text);
            assert_eq!(url.kind(), kind);
            assert_eq!(url.to_string(), printed);
            assert!(!format!("{url:?}{url:#?}").contains("s3cret"));
        }
    }

    #[test]
    fn certificates_are_checked_in_full_unless_the_url_says_how() {
        let all = Certificates {
            authority: Some("/tls/ca.crt".into()),
            certificate: Some("/tls/tls.crt".into()),
            key: Some("/tls/tls.key".into()),
        };
        let with = |text: &str, files: &Certificates| parsed(text).with_certificates(files).map(|url| url.to_string());
        assert_eq!(
            with("postgres://u@db/shop", &all).unwrap(),
            "postgres://u@db/shop?ssl-mode=verify-full&ssl-ca=/tls/ca.crt&ssl-cert=/tls/tls.crt&ssl-key=/tls/tls.key"
        );
        let authority = Certificates { authority: all.authority.clone(), ..Certificates::default() };
        assert_eq!(
            with("mysql://u@db/shop", &authority).unwrap(),
            "mysql://u@db/shop?ssl-mode=VERIFY_IDENTITY&ssl-ca=/tls/ca.crt"
        );
        assert_eq!(
            with("postgres://u@db/shop?sslmode=verify-ca", &authority).unwrap(),
            "postgres://u@db/shop?sslmode=verify-ca&ssl-ca=/tls/ca.crt"
        );
        assert_eq!(with("sqlite:a.sqlite", &Certificates::default()).unwrap(), "sqlite:a.sqlite");
        assert!(with("sqlite:a.sqlite", &authority).is_err());
    }

    #[test]
    fn a_server_has_a_host_and_a_file_has_none() {
        assert_eq!(parsed("postgres://u@db:5433/shop").host(), Some("db"));
        assert_eq!(parsed("sqlite:shop.sqlite").host(), None);
        assert_eq!(parsed("sqlite:data/shop.sqlite?mode=rwc").file(), Some(Path::new("data/shop.sqlite")));
        assert_eq!(parsed("postgres://u@db/shop").file(), None);
    }

    #[test]
    fn errors_say_what_to_do_and_keep_the_password() {
        assert!(refused("redis://u:s3cret@h").contains("postgres://"));
        assert!(refused("postgres://u:s3/cret@h/db").contains("%2F"));
        assert!(refused("postgres://u:s3#cret@h/db").contains("%23"));
        assert!(refused("mysql://u:s3cret@h").contains("names no database"));
        assert!(refused("mysql://u:s3cret@h/db?tls=on").contains("unknown parameter `tls`"));
        assert!(refused("sqlite:").contains("needs a path"));
        assert!(refused("sqlite::memory:").contains("in memory"));
        for text in ["redis://u:s3cret@h", "mysql://u:s3cret@h", "mysql://u:s3cret@h:99999/db", "postgres:u:s3cret"] {
            assert!(!refused(text).contains("s3cret"), "{}", refused(text));
        }
    }
}
