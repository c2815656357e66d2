//! What a Redis account needs for a queue, taken from the scripts and commands that are sent: a list that nobody keeps up to
//! date by hand is wrong after the next change.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::simple::QueueKeys;
use crate::{Protocol, QueueError};

/// Who uses the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Only looks: the operator, `jobqueue status` and `jobqueue explain`.
    Watcher,
    /// Workers, and every command of a person.
    Worker,
}

macro_rules! scripts {
    ($($path:literal)*) => { [$(($path, include_str!($path))),*] };
}

const RQ: [(&str, &str); 14] = scripts!(
    "rq/lua/prelude.lua" "rq/lua/outcome.lua" "rq/lua/claim.lua" "rq/lua/settle.lua" "rq/lua/heartbeat.lua"
    "rq/lua/maintain.lua" "rq/lua/clean_registries.lua" "rq/lua/rights.lua" "rq/lua/register.lua" "rq/lua/deregister.lua"
    "rq/lua/requeue.lua" "rq/lua/purge.lua" "producer/progress.lua" "producer/rq.lua"
);
const SIMPLE: [(&str, &str); 10] = scripts!(
    "simple/lua/prelude.lua" "simple/lua/claim.lua" "simple/lua/settle.lua"
    "simple/lua/heartbeat.lua" "simple/lua/maintain.lua" "simple/lua/rights.lua"
    "simple/lua/deregister.lua" "simple/lua/requeue.lua" "simple/lua/purge.lua" "producer/progress.lua"
);
const LIST: [(&str, &str); 2] = scripts!("simple/lua/list.lua" "producer/list.lua");
const STREAM: [(&str, &str); 2] = scripts!("simple/lua/stream.lua" "producer/stream.lua");
/// Parts of every worker's scripts, whatever the protocol.
const EVERYWHERE: [(&str, &str); 2] = scripts!("redis/errors.lua" "worker_reports.lua");
const LOOK_AT_RQ: [(&str, &str); 1] = scripts!("rq/lua/stats.lua");
const LOOK_AT_SIMPLE: [(&str, &str); 1] = scripts!("simple/lua/stats.lua");

/// Sent by every client of ours.
const CLIENT: [&str; 5] = ["evalsha", "eval", "info", "ping", "select"];
/// Sent outside of scripts by workers and by commands of a person.
const PLAIN: [&str; 21] = [
    "blmove",
    "exists",
    "expire",
    "hgetall",
    "hmget",
    "hset",
    "llen",
    "lpush",
    "publish",
    "rpush",
    "smembers",
    "subscribe",
    "unsubscribe",
    "xgroup|create",
    "xinfo|groups",
    "xread",
    "xrevrange",
    "zcard",
    "zrange",
    "zscore",
    "hget",
];

/// Commands with a word of their own behind them, as ACL rules name them.
const CONTAINERS: [&str; 2] = ["XGROUP", "XINFO"];

/// The commands that an account needs, as ACL rules name them.
pub fn commands(protocol: Protocol, role: Role) -> BTreeSet<String> {
    let look = if protocol == Protocol::Rq { LOOK_AT_RQ } else { LOOK_AT_SIMPLE };
    let mut scripts: Vec<&str> = look.iter().map(|(_, text)| *text).collect();
    let mut all: BTreeSet<String> = CLIENT.map(str::to_owned).into();
    if role == Role::Worker {
        all.extend(PLAIN.map(str::to_owned));
        let own: &[(&str, &str)] = if protocol == Protocol::Rq { &RQ } else { &SIMPLE };
        let source: &[(&str, &str)] = match protocol {
            Protocol::Rq => &[],
            Protocol::List => &LIST,
            Protocol::Stream => &STREAM,
        };
        scripts.extend(own.iter().chain(source).chain(&EVERYWHERE).map(|(_, text)| *text));
    }
    for script in scripts {
        all.extend(commands_of(script));
    }
    all
}

/// The commands that a script names: the first text after `call(`, `call,` or `try(`.
fn commands_of(script: &str) -> impl Iterator<Item = String> {
    script.match_indices('\'').filter_map(|(at, _)| {
        let before = script[..at].trim_end();
        let called = ["call(", "call,", "try("].iter().any(|sign| before.ends_with(sign));
        let mut words = script[at + 1..].split('\'');
        let command = words.next().filter(|_| called)?;
        let upper = !command.is_empty() && command.bytes().all(|byte| byte.is_ascii_uppercase());
        let sub = CONTAINERS.contains(&command).then(|| words.nth(1).map(str::to_lowercase)).flatten();
        upper.then(|| match sub {
            Some(sub) => format!("{}|{sub}", command.to_lowercase()),
            None => command.to_lowercase(),
        })
    })
}

/// The rules of `ACL SETUSER`, without a name and a password.
///
/// # Errors
/// `Config` for a name that no list or stream of ours can have.
pub fn rules(
    protocol: Protocol,
    names: &[String],
    key_prefix: &str,
    group: &str,
    role: Role,
) -> Result<String, QueueError> {
    let mut rules = String::from("resetkeys resetchannels -@all");
    if protocol == Protocol::Rq {
        let prefix = literal(key_prefix);
        let _ = write!(rules, " ~{prefix}:*");
        if role == Role::Worker {
            let _ = write!(rules, " &{prefix}:pubsub:*");
        }
    } else {
        for name in names {
            let queue = QueueKeys::new(protocol, name, group)?;
            let (key, sidecar_keys) = (literal(&queue.key), literal(&queue.prefix));
            let _ = write!(rules, " ~{key} ~{sidecar_keys}:*");
            if role == Role::Worker {
                let _ = write!(rules, " &{sidecar_keys}:*");
            }
        }
    }
    for command in commands(protocol, role) {
        let _ = write!(rules, " +{command}");
    }
    Ok(rules)
}

/// A pattern that matches this text only.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]\\^".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Files with this ending below `src`, as paths from there.
    fn sources(ending: &str) -> Vec<String> {
        fn walk(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        walk(&root, &mut found);
        let inside = |path: &std::path::PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        found.iter().map(inside).filter(|path| path.ends_with(ending)).collect()
    }

    /// Sent to find the servers, as the client library does by itself: to a Sentinel, to the nodes of a cluster, and to a
    /// master, which may refuse it.
    const TOPOLOGY: [&str; 3] = ["sentinel", "cluster", "role"];

    #[test]
    fn every_script_is_read() {
        let all = [&RQ[..], &SIMPLE, &LIST, &STREAM, &EVERYWHERE, &LOOK_AT_RQ, &LOOK_AT_SIMPLE].concat();
        for path in sources(".lua") {
            assert!(all.iter().any(|(known, _)| *known == path), "{path} is in no list of acl.rs");
        }
    }

    #[test]
    fn every_plain_command_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for path in sources(".rs").iter().filter(|path| !path.ends_with("acl.rs")) {
            let text = std::fs::read_to_string(root.join(path)).unwrap();
            for part in text.split("cmd(\"").skip(1) {
                let command = part.split('"').next().unwrap().to_lowercase();
                let known = |name: &&str| **name == command || name.starts_with(&format!("{command}|"));
                assert!(PLAIN.iter().chain(&CLIENT).chain(&TOPOLOGY).any(known), "{path} sends {command}");
            }
        }
    }

    #[test]
    fn commands_are_read_from_scripts() {
        let script = "redis.call('HSET', k, 'CALL') local ok = pcall(redis.call, 'ZADD', k)\n\
                      redis.pcall('XGROUP', 'CREATE', k) try('LPOP', k) x['NO'] = 'GET'";
        let found: Vec<String> = commands_of(script).collect();
        assert_eq!(found, ["hset", "zadd", "xgroup|create", "lpop"]);
    }

    #[test]
    fn names_are_no_patterns() {
        let rules = rules(Protocol::List, &["a[1]*".into()], "rq", "", Role::Watcher).unwrap();
        assert!(rules.starts_with("resetkeys resetchannels -@all ~a\\[1\\]\\* ~jobqueue:{a\\[1\\]\\*}:* +"), "{rules}");
    }
}
