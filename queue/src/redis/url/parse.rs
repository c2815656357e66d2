//! Reads a [`ConnectionUrl`] from text.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::{ConnectionUrl, Login, Node, Topology};
use crate::QueueError;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl FromStr for ConnectionUrl {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        // The text itself stays out of every message: it may hold a password.
        parse(text.trim()).map_err(|reason| QueueError::Config(format!("the Redis URL is invalid: {reason}")))
    }
}

fn parse(text: &str) -> Result<ConnectionUrl, String> {
    let (scheme, rest) = text.split_once("://").ok_or(
        "it has no scheme (redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster, unix)",
    )?;
    let (kind, tls) = match scheme.to_ascii_lowercase().as_str() {
        "redis" => (Kind::Standalone, false),
        "rediss" => (Kind::Standalone, true),
        "redis+sentinel" => (Kind::Sentinel, false),
        "rediss+sentinel" => (Kind::Sentinel, true),
        "redis+cluster" => (Kind::Cluster, false),
        "rediss+cluster" => (Kind::Cluster, true),
        "unix" | "redis+unix" => (Kind::Socket, false),
        other => return Err(format!("the scheme {other:?} is not known")),
    };
    if rest.contains('#') {
        return Err("it has a fragment (#…); write a # in a password as %23".into());
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if kind == Kind::Socket {
        return parse_socket(rest, query);
    }
    // A password may hold a slash that nobody encoded; the last @ still ends it, so look for that first.
    let (login, rest) = match rest.rsplit_once('@') {
        Some((userinfo, rest)) => (parse_login(userinfo)?, rest),
        None => (Login::default(), rest),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let query = parse_query(query, kind)?;
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (topology, path_db) = match (kind, path.as_slice()) {
        (Kind::Standalone, [] | [_]) => {
            let mut nodes = parse_nodes(hosts, REDIS_PORT)?;
            if nodes.len() != 1 {
                return Err("it names several hosts; use redis+sentinel:// or redis+cluster:// for that".into());
            }
            (Topology::Standalone(nodes.remove(0)), path.first())
        }
        (Kind::Sentinel, [master] | [master, _]) => {
            let master = decode(master)?;
            let sentinels = parse_nodes(hosts, SENTINEL_PORT)?;
            (Topology::Sentinel { sentinels, master, login: query.sentinel }, path.get(1))
        }
        (Kind::Sentinel, []) => return Err("it does not name the master: redis+sentinel://host/MASTER/0".into()),
        (Kind::Cluster, [] | ["0"]) => (Topology::Cluster(parse_nodes(hosts, REDIS_PORT)?), None),
        (Kind::Cluster, _) => return Err("a Redis Cluster has only database 0".into()),
        (Kind::Standalone | Kind::Sentinel | Kind::Socket, _) => return Err("its path has too many parts".into()),
    };
    let db = match (path_db, query.db) {
        (Some(text), _) => parse_db(text)?,
        (None, Some(db)) => db,
        (None, None) => 0,
    };
    Ok(ConnectionUrl { topology, tls, login, db, resp3: query.resp3, password_file: None, domain: None })
}

/// What comes behind `unix://`. The path begins at the first slash, or after the last `@/` where a login comes first.
fn parse_socket(rest: &str, query: &str) -> Result<ConnectionUrl, String> {
    let (mut login, path) = match rest.rfind("@/") {
        Some(at) if !rest.starts_with('/') => (parse_login(&rest[..at])?, &rest[at + 1..]),
        _ => (Login::default(), rest),
    };
    // Not repeated: with the @ forgotten, it is a password.
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("it names no socket: unix:///path/of/socket, with three slashes".into());
    }
    let query = parse_query(query, Kind::Socket)?;
    login.username = login.username.or(query.login.username);
    login.password = login.password.or(query.login.password);
    let topology = Topology::Socket(decode(path)?.into());
    Ok(ConnectionUrl {
        topology,
        tls: false,
        login,
        db: query.db.unwrap_or(0),
        resp3: query.resp3,
        password_file: None,
        domain: None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Standalone,
    Sentinel,
    Cluster,
    Socket,
}

#[derive(Default)]
struct Query {
    db: Option<i64>,
    resp3: bool,
    sentinel: Login,
    login: Login,
}

fn parse_query(text: &str, kind: Kind) -> Result<Query, String> {
    let mut query = Query::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, kind) {
            ("username", Kind::Socket) => query.login.username = Some(decode(value)?),
            ("password", Kind::Socket) => query.login.password = Some(decode(value)?),
            ("db", Kind::Standalone | Kind::Sentinel | Kind::Socket) => query.db = Some(parse_db(value)?),
            ("protocol", _) => query.resp3 = parse_protocol(value)?,
            ("sentinel_username", Kind::Sentinel) => query.sentinel.username = Some(decode(value)?),
            ("sentinel_password", Kind::Sentinel) => query.sentinel.password = Some(decode(value)?),
            // The name may be the tail of a password with a bare question mark: it is not repeated.
            _ => return Err("it has an unknown option after the ?; write a ? in a password as %3F".into()),
        }
    }
    Ok(query)
}

fn parse_login(userinfo: &str) -> Result<Login, String> {
    let (username, password) = match userinfo.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (userinfo, None),
    };
    let filled = |text: &str| if text.is_empty() { Ok(None) } else { decode(text).map(Some) };
    Ok(Login { username: filled(username)?, password: password.map_or(Ok(None), filled)? })
}

fn parse_nodes(hosts: &str, default_port: u16) -> Result<Vec<Node>, String> {
    hosts.split(',').map(|host| parse_node(host.trim(), default_port)).collect()
}

fn parse_node(text: &str, default_port: u16) -> Result<Node, String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("an IPv6 address is not closed with ]")?;
        (host, after.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err("a host is missing".into());
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{host:?} is not a host"));
    }
    let port = match port {
        None => default_port,
        // Not repeated: with the @ forgotten, a "port" is a password.
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("the port is not a number from 1 to 65535")?,
    };
    Ok(Node { host: host.to_owned(), port })
}

fn parse_db(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|db: &i64| *db >= 0)
        .ok_or_else(|| format!("the database {text:?} is not a number from 0 upwards"))
}

/// As redis-py and the `redis` crate spell it.
fn parse_protocol(text: &str) -> Result<bool, String> {
    match text {
        "2" | "resp2" => Ok(false),
        "3" | "resp3" => Ok(true),
        _ => Err(format!("the protocol {text:?} is neither 2 nor 3")),
    }
}

fn decode(text: &str) -> Result<String, String> {
    Ok(percent_decode_str(text).decode_utf8().map_err(|_| "a percent-encoded part is not UTF-8")?.into_owned())
}
