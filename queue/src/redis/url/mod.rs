//! The one format of Redis URLs, for the manifest, Secrets, the environment and flags alike. A parsed URL never prints
//! its password.

mod parse;

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::QueueError;

/// What has a meaning of its own in the path of a socket.
const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'?');

/// Where a Redis is and how to log in.
///
/// - `redis://[user:password@]host[:port][/db]`, and `rediss://` for TLS
/// - `redis+sentinel://[user:password@]host[:port],…/MASTER[/db]`, and `rediss+sentinel://`; the user and password are
///   those of the data nodes, `?sentinel_username=` and `?sentinel_password=` those of the Sentinels
/// - `redis+cluster://[user:password@]host[:port],…`, and `rediss+cluster://`
/// - `unix://[user:password@]/path/of/socket[?db=1]`, or `redis+unix://`: a socket of this machine; as in redis-py, user and
///   password may also be `?username=` and `?password=`
/// - `?protocol=3` at the end of any of them: RESP3 instead of RESP2 (which every server and proxy speaks)
///
/// Characters with a meaning of their own are percent-encoded in user and password. `Display` and `Debug` replace the
/// passwords with `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionUrl {
    pub(crate) topology: Topology,
    pub(crate) tls: bool,
    pub(crate) login: Login,
    /// Where the password is, if it is in a file; read for each connection.
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) db: i64,
    /// Whether to speak RESP3.
    pub(crate) resp3: bool,
    /// Where short host names are looked up; none: as the system does.
    pub(crate) domain: Option<String>,
}

/// A user and a password, either of which may be absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// What is at the other end.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Topology {
    Standalone(Node),
    Sentinel { sentinels: Vec<Node>, master: String, login: Login },
    Cluster(Vec<Node>),
    Socket(PathBuf),
}

/// Host and port; an IPv6 address is kept without brackets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl ConnectionUrl {
    /// Whether this is a Redis Cluster, where an RQ queue needs a `{tag}` in its key prefix.
    pub fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    /// The socket of this machine that it names, if it names one: no other machine can be reached through it.
    pub fn socket(&self) -> Option<&Path> {
        if let Topology::Socket(path) = &self.topology { Some(path) } else { None }
    }

    /// The hosts and ports that it names, none for a socket; an IPv6 address without brackets.
    pub fn hosts(&self) -> Vec<(String, u16)> {
        let nodes = match &self.topology {
            Topology::Standalone(node) => std::slice::from_ref(node),
            Topology::Sentinel { sentinels: nodes, .. } | Topology::Cluster(nodes) => nodes,
            Topology::Socket(_) => &[],
        };
        nodes.iter().map(|node| (node.host.clone(), node.port)).collect()
    }

    /// The same place for somebody who is elsewhere: each host name without a dot is looked up as a name of `domain`, as
    /// a resolver that searches it would do. Addresses and `localhost` stay, and a server's certificate is held against the
    /// name as it stands here: everybody sees the same one.
    #[must_use]
    pub fn within(mut self, domain: &str) -> Self {
        if let Topology::Sentinel { sentinels, .. } = &mut self.topology {
            // The client library looks these up by itself.
            for node in sentinels {
                node.host = full_name(&node.host, domain);
            }
        }
        if self.hosts().iter().any(|(host, _)| full_name(host, domain) != *host) {
            self.domain = Some(domain.to_owned());
        }
        self
    }

    /// The same place with the password in a file, which is read for each connection: it may change, as tokens do. `Config`
    /// if the URL has a password already.
    pub fn with_password_file(mut self, file: &Path) -> Result<Self, QueueError> {
        if self.login.password.is_some() {
            return Err(QueueError::Config(
                "the URL has a password, and there is a password file: remove one of them".into(),
            ));
        }
        self.password_file = Some(file.to_owned());
        Ok(self)
    }

    /// The same place with the database number replaced; `Config` for a cluster, which has none.
    pub fn with_db(mut self, db: i64) -> Result<Self, QueueError> {
        if self.is_cluster() && db != 0 {
            return Err(QueueError::Config("a Redis Cluster has only database 0".into()));
        }
        self.db = db;
        Ok(self)
    }
}

/// A host name as it is looked up from outside of `domain`.
pub(crate) fn full_name(host: &str, domain: &str) -> String {
    let short = !host.contains(['.', ':']) && !host.eq_ignore_ascii_case("localhost");
    if short { format!("{host}.{domain}") } else { host.to_owned() }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.username, &self.password) {
            (None, None) => Ok(()),
            (Some(username), None) => write!(f, "{username}@"),
            (username, Some(_)) => write!(f, "{}:***@", username.as_deref().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Topology::Socket(path) = &self.topology {
            let path = path.to_string_lossy();
            return write!(f, "unix://{}{}?db={}", self.login, utf8_percent_encode(&path, IN_PATH), self.db);
        }
        let scheme = if self.tls { "rediss" } else { "redis" };
        let (variant, nodes) = match &self.topology {
            Topology::Standalone(node) => ("", std::slice::from_ref(node)),
            Topology::Sentinel { sentinels, .. } => ("+sentinel", sentinels.as_slice()),
            Topology::Cluster(nodes) => ("+cluster", nodes.as_slice()),
            Topology::Socket(_) => ("", &[][..]),
        };
        write!(f, "{scheme}{variant}://{}", self.login)?;
        for (i, node) in nodes.iter().enumerate() {
            let host = self.domain.as_ref().map_or_else(|| node.host.clone(), |domain| full_name(&node.host, domain));
            write!(f, "{}{}", if i == 0 { "" } else { "," }, Node { host, port: node.port })?;
        }
        match &self.topology {
            Topology::Standalone(_) => write!(f, "/{}", self.db),
            Topology::Sentinel { master, .. } => write!(f, "/{master}/{}", self.db),
            Topology::Cluster(_) | Topology::Socket(_) => Ok(()),
        }
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<ConnectionUrl>().unwrap().to_string()
    }

    #[test]
    fn hosts_are_those_of_every_topology() {
        let hosts = |text: &str| text.parse::<ConnectionUrl>().unwrap().hosts();
        assert_eq!(hosts("redis://u:p@[::1]/2"), [("::1".to_owned(), 6379)]);
        assert_eq!(hosts("redis+sentinel://a,b:7/m"), [("a".to_owned(), 26379), ("b".to_owned(), 7)]);
    }

    #[test]
    fn short_names_are_of_the_domain() {
        let within = |text: &str| text.parse::<ConnectionUrl>().unwrap().within("shop.svc").to_string();
        assert_eq!(within("redis://redis:7/2"), shown("redis://redis.shop.svc:7/2"));
        assert_eq!(within("redis+sentinel://a,b.c/m"), shown("redis+sentinel://a.shop.svc,b.c/m"));
        for url in ["redis://redis.other", "redis://localhost", "redis://10.0.0.1", "redis://[::1]"] {
            assert_eq!(within(url), shown(url));
            let parsed: ConnectionUrl = url.parse().unwrap();
            assert!(parsed.clone().within("shop.svc") == parsed, "{url}: one connection for everybody");
        }
        // The name that a certificate is held against.
        let hosts = "rediss://redis:7/2".parse::<ConnectionUrl>().unwrap().within("shop.svc").hosts();
        assert_eq!(hosts, [("redis".to_owned(), 7)]);
    }

    fn refused(text: &str) -> String {
        text.parse::<ConnectionUrl>().unwrap_err().to_string()
    }

    #[test]
    fn every_form_parses_and_prints_redacted() {
        for (text, expected) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://localhost:7000/3", "redis://localhost:7000/3"),
            ("redis://localhost?db=4", "redis://localhost:6379/4"),
            ("rediss://u:s3cret@h/1", "rediss://u:***@h:6379/1"),
            ("redis://:s3cret@h", "redis://:***@h:6379/0"),
            ("redis://u@[::1]:7000/", "redis://u@[::1]:7000/0"),
            ("redis+sentinel://u:s3cret@a,b:7/mymaster", "redis+sentinel://u:***@a:26379,b:7/mymaster/0"),
            ("rediss+sentinel://a/m/2?sentinel_password=s3cret", "rediss+sentinel://a:26379/m/2"),
            ("redis+cluster://a,b:7001", "redis+cluster://a:6379,b:7001"),
            ("rediss+cluster://u:s3cret@a/0", "rediss+cluster://u:***@a:6379"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
            ("redis+unix://u:s3cret@/run/redis.sock?db=3", "unix://u:***@/run/redis.sock?db=3"),
            ("unix://:s3cret@x@/run/a%20b@/c.sock", "unix://:***@/c.sock?db=0"),
            ("unix:///run/a%3Fb@/c.sock?password=s3cret&db=1", "unix://:***@/run/a%3Fb@/c.sock?db=1"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            let debug = format!("{:?}", text.parse::<ConnectionUrl>().unwrap());
            assert!(!debug.contains("s3cret"), "{debug}");
        }
    }

    #[test]
    fn passwords_are_decoded_and_may_hold_bare_slashes_and_ats() {
        let login = |text: &str| text.parse::<ConnectionUrl>().unwrap().login;
        assert_eq!(login("redis://u%40x:p%2Fw%20%23@h").username.unwrap(), "u@x");
        assert_eq!(login("redis://u%40x:p%2Fw%20%23@h").password.unwrap(), "p/w #");
        assert_eq!(login("redis://u:p/w@q:x@h/2").password.unwrap(), "p/w@q:x");
    }

    #[test]
    fn resp3_is_asked_for_by_number_or_by_name() {
        let resp3 = |text: &str| text.parse::<ConnectionUrl>().unwrap().resp3;
        for url in ["redis://h", "redis://h/1?protocol=2", "redis+cluster://h?protocol=resp2"] {
            assert!(!resp3(url), "{url}");
        }
        for url in
            ["redis://h/1?protocol=3", "redis+sentinel://h/m?db=2&protocol=resp3", "redis+cluster://h?protocol=3"]
        {
            assert!(resp3(url), "{url}");
        }
    }

    #[test]
    fn mistakes_are_named_without_the_secret() {
        for (text, needle) in [
            ("localhost:6379", "no scheme"),
            ("http://h", "\"http\" is not known"),
            ("redis://", "host is missing"),
            ("redis://h:0", "port"),
            ("redis://user:s3cret", "port"),
            ("redis://h/x", "not a number"),
            ("redis://h/-1", "not a number"),
            ("redis://h/0/1", "too many parts"),
            ("redis://h?protocol=4", "neither 2 nor 3"),
            ("redis://a,b", "several hosts"),
            ("redis+sentinel://a,b", "does not name the master"),
            ("redis+sentinel://a/m/0/1", "too many parts"),
            ("redis+cluster://a/1", "only database 0"),
            ("redis://u:s3cret?x@h", "unknown option"),
            ("redis://u:s3cret#x@h", "fragment"),
            ("redis://[::1", "IPv6"),
            ("unix://", "three slashes"),
            ("unix://s3cret", "three slashes"),
            ("unix://u:s3cret/run/redis.sock", "three slashes"),
            ("unix:///run/", "three slashes"),
            ("unix:///run/r.sock?db=x", "not a number"),
            ("unix:///run/r.sock?pass=s3cret", "unknown option"),
            ("redis://u:%ff@h", "UTF-8"),
        ] {
            let message = refused(text);
            assert!(message.contains(needle), "{text}: {message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
