//! Where a database is: one string in one format everywhere, that never prints its password.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use url::Url;

mod password_file;

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

/// A parsed connection URL: `postgres://`, `mysql://` (or `mariadb://`), or `sqlite:path`. A server may have several
/// hosts, as libpq writes them (`user@one:5432,two:5432`). `Display` and `Debug` print it with every secret replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    kind: DatabaseKind,
    address: Address,
    /// Where the password is, if it is in a file.
    password_file: Option<PathBuf>,
}

/// Files (PEM) for TLS with the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The authority that signed the server's certificate; `None` means the public ones.
    pub authority: Option<PathBuf>,
    /// The client's certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Where a database is: on servers, or in a file.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Address {
    Server(Servers),
    File { path: PathBuf, mode: FileMode },
}

/// The hosts of one database, of which one takes writes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Servers {
    /// The same URL for each host; never empty.
    urls: Vec<Url>,
    /// `target_session_attrs`, if the URL has it.
    target: Option<Target>,
}

/// Which server is the right one. There is no word for those that take no writes: rows are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Target {
    /// One whose transactions may write.
    ReadWrite,
    /// One that is no standby.
    Primary,
}

impl Servers {
    /// The URL of each host, without what the driver does not know.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Url> {
        self.urls.iter()
    }

    /// What is asked of a server before it is used; `None` where there is no choice, and none was asked for.
    pub(super) fn target(&self) -> Option<Target> {
        self.target.or((self.urls.len() > 1).then_some(Target::ReadWrite))
    }
}

/// `host:port` of a URL.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
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

    /// The server's host, the first one if there are several; `None` for a file.
    pub fn host(&self) -> Option<&str> {
        match &self.address {
            Address::Server(servers) => servers.urls.first().and_then(Url::host_str),
            Address::File { .. } => None,
        }
    }

    /// The path of an SQLite file; `None` for a server.
    pub fn file(&self) -> Option<&Path> {
        match &self.address {
            Address::Server(_) => None,
            Address::File { path, .. } => Some(path),
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
        let Address::Server(servers) = &mut self.address else {
            return Err(wrong("an SQLite file is not reached over TLS; give no certificates"));
        };
        for url in &mut servers.urls {
            let checks = url.query_pairs().any(|(name, _)| name == "sslmode" || name == "ssl-mode");
            let mut parameters = url.query_pairs_mut();
            if !checks {
                let in_full = if self.kind == DatabaseKind::Mysql { "VERIFY_IDENTITY" } else { "verify-full" };
                parameters.append_pair("ssl-mode", in_full);
            }
            for (name, file) in &files {
                parameters.append_pair(name, &file.to_string_lossy());
            }
        }
        Ok(self)
    }

    /// The servers or the file that the URL names.
    pub(super) fn address(&self) -> &Address {
        &self.address
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
    let mut urls = Vec::new();
    let mut target = None;
    for rest in each_host(rest)? {
        let mut url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| {
            wrong(&format!(
                "{error} (in a password, write / as %2F, @ as %40, : as %3A, # as %23, ? as %3F and % as %25)"
            ))
        })?;
        check(kind, &url, scheme, known)?;
        target = take_target(&mut url)?;
        urls.push(url);
    }
    Ok(DatabaseUrl { kind, address: Address::Server(Servers { urls, target }), password_file: None })
}

/// What follows `://`, once for each of the hosts that stand in it with commas between.
fn each_host(rest: &str) -> Result<Vec<String>, SinkError> {
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (account, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    if hosts.contains(',') && hosts.split(',').any(|host| host.is_empty() || host.starts_with(':')) {
        return Err(wrong("one of its hosts has no name; several are written user@one:5432,two:5432"));
    }
    Ok(hosts.split(',').map(|host| format!("{account}{host}{after}")).collect())
}

fn check(kind: DatabaseKind, url: &Url, scheme: &str, known: &[&str]) -> Result<(), SinkError> {
    if url.fragment().is_some() {
        return Err(wrong("it has a `#`; in a password write it as %23"));
    }
    for (name, value) in url.query_pairs() {
        let setting = kind == DatabaseKind::Postgres && name.starts_with("options[");
        if !setting && name != TARGET && !known.contains(&&*name) {
            let known = known.join(", ");
            return Err(wrong(&format!("it has the unknown parameter `{name}`; known are {known}, {TARGET}")));
        }
        if matches!(&*name, "host" | "hostaddr" | "port") && value.contains(',') {
            return Err(wrong(&format!(
                "its parameter `{name}` has a comma; write several hosts as {scheme}://user:password@one:PORT,two:PORT/DATABASE"
            )));
        }
    }
    let named = url.path().trim_matches('/');
    if named.is_empty() && !url.query_pairs().any(|(name, _)| name == "dbname") {
        return Err(wrong(&format!("it names no database: {scheme}://user:password@host/DATABASE")));
    }
    Ok(())
}

/// libpq's name for which of several servers is wanted.
const TARGET: &str = "target_session_attrs";

/// Takes the parameter out, which the drivers do not know.
fn take_target(url: &mut Url) -> Result<Option<Target>, SinkError> {
    let Some(word) = url.query_pairs().find(|(name, _)| name == TARGET).map(|(_, word)| word.into_owned()) else {
        return Ok(None);
    };
    let target = word.parse().map_err(|_| {
        wrong(&format!("`{TARGET}={word}` may lead to a server that takes no rows; give read-write or primary"))
    })?;
    let others: Vec<(String, String)> =
        url.query_pairs().filter(|(name, _)| name != TARGET).map(|(name, value)| (name.into(), value.into())).collect();
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
    Ok(Some(target))
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
    Ok(DatabaseUrl {
        kind: DatabaseKind::Sqlite,
        address: Address::File { path: path.into(), mode },
        password_file: None,
    })
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::File { path, .. } => write!(f, "sqlite:{}", path.display()),
            Address::Server(Servers { urls, target }) => {
                let Some(url) = urls.first() else { return Ok(()) };
                write!(f, "{}://", url.scheme())?;
                if !url.username().is_empty() || url.password().is_some() {
                    write!(f, "{}{}@", url.username(), if url.password().is_some() { ":***" } else { "" })?;
                }
                write!(f, "{}", urls.iter().map(host_and_port).collect::<Vec<_>>().join(","))?;
                write!(f, "{}", url.path())?;
                let mut parameters = Vec::new();
                for (name, value) in url.query_pairs() {
                    let value = if name.contains("pass") { "***".into() } else { value };
                    parameters.push(format!("{name}={value}"));
                }
                parameters.extend(target.map(|target| format!("{TARGET}={target}")));
                let sign = if parameters.is_empty() { "" } else { "?" };
                write!(f, "{sign}{}", parameters.join("&"))
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
            (
                "postgres://u:s3cret@db1:5433,db2,[::1]:5434/shop?target_session_attrs=read-write&password=s3cret",
                DatabaseKind::Postgres,
                "postgres://u:***@db1:5433,db2,[::1]:5434/shop?password=***&target_session_attrs=read-write",
            ),
            ("mysql://u:s3cret@db1,db2/shop", DatabaseKind::Mysql, "mysql://u:***@db1,db2/shop"),
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
    fn several_hosts_are_one_url_each_and_one_that_takes_writes_is_wanted() {
        let servers = |text: &str| match parsed(text).address {
            Address::Server(servers) => servers,
            Address::File { .. } => panic!("{text} is a file"),
        };
        let several = servers("postgres://u:p%2C%40@db1:5433,db2/shop?sslmode=require&target_session_attrs=primary");
        let urls: Vec<&str> = several.urls().map(Url::as_str).collect();
        assert_eq!(
            urls,
            ["postgres://u:p%2C%40@db1:5433/shop?sslmode=require", "postgres://u:p%2C%40@db2/shop?sslmode=require"]
        );
        assert_eq!(several.target(), Some(Target::Primary));
        assert_eq!(servers("mysql://u@db1,db2/shop").target(), Some(Target::ReadWrite));
        assert_eq!(servers("postgres://u@db1/shop?target_session_attrs=read-write").target(), Some(Target::ReadWrite));
        assert_eq!(servers("postgres://u@db1/shop").target(), None);
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
        assert!(refused("postgres://u:s3cret@a,b/db?target_session_attrs=any").contains("give read-write or primary"));
        assert!(refused("postgres://u:s3cret@h/db?host=a,b").contains("one:PORT,two:PORT"));
        assert!(refused("postgres://u:s3cret@a,/db").contains("has no name"));
        for text in [
            "redis://u:s3cret@h",
            "mysql://u:s3cret@h",
            "mysql://u:s3cret@h:99999/db",
            "postgres:u:s3cret",
            "postgres://u:s3cret@a,b:99999/db",
            "postgres://u:s3cret@a,b",
        ] {
            assert!(!refused(text).contains("s3cret"), "{}", refused(text));
        }
    }
}
