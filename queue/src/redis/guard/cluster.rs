//! A Redis Cluster whose nodes are not trusted. Each node that the cluster names is dialled like any other server, so that a
//! redirection leads nowhere else. It follows no `ASK`, as the other client does not: a script would run where keys are
//! missing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use redis::{Arg, Cmd, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value};

use super::dialer::{Dialer, GuardedNode};
use crate::redis::url::Node;

/// The waits, in milliseconds, before asking again for slots that have moved.
const SLOT_MOVED: [u64; 3] = [0, 50, 200];

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// Ranges of slots that a cluster may have: one for every fourth slot.
const MOST_RANGES: usize = SLOTS as usize / 4;

/// Masters that a cluster may have, and the bytes of all their names: what is kept of one is small, also for many clusters.
const MOST_MASTERS: usize = 1_000;
const LONGEST_NAMES: usize = 64 << 10;

/// A cluster with the connections to its nodes; clones share them.
#[derive(Clone)]
pub(crate) struct GuardedCluster {
    shared: Arc<Shared>,
}

/// With what to log in at a node, as it is now: a password may be in a file that changes.
type Settings = Arc<dyn Fn() -> RedisResult<RedisConnectionInfo> + Send + Sync>;

struct Shared {
    dialer: Dialer,
    settings: Settings,
    seeds: Vec<Node>,
    topology: Mutex<Topology>,
}

#[derive(Default)]
struct Topology {
    ranges: Vec<Range>,
    nodes: HashMap<(String, u16), GuardedNode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    /// One for all ranges of a node.
    node: Arc<Node>,
}

impl GuardedCluster {
    /// Asks the first node of `seeds` that answers for the others.
    pub(crate) async fn connect(dialer: Dialer, settings: Settings, seeds: &[Node]) -> RedisResult<Self> {
        let shared = Shared { dialer, settings, seeds: seeds.to_vec(), topology: Mutex::default() };
        let cluster = Self { shared: Arc::new(shared) };
        cluster.refresh().await?;
        Ok(cluster)
    }

    async fn refresh(&self) -> RedisResult<()> {
        let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "a cluster needs a node"));
        for seed in &self.shared.seeds {
            let slots = async {
                let mut node = self.node(seed).await?;
                ranges(node.ask(redis::cmd("CLUSTER").arg("SLOTS")).await?, seed)
            };
            match slots.await {
                Ok(ranges) => {
                    let mut topology = self.shared.topology.lock().unwrap_or_else(PoisonError::into_inner);
                    let known = |host: &str, port: u16| {
                        let is_it = |node: &Node| node.host == host && node.port == port;
                        self.shared.seeds.iter().any(is_it) || ranges.iter().any(|range| is_it(&range.node))
                    };
                    topology.nodes.retain(|(host, port), _| known(host, *port));
                    topology.ranges = ranges;
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn node(&self, node: &Node) -> RedisResult<GuardedNode> {
        let name = (node.host.clone(), node.port);
        let known = self.shared.topology.lock().unwrap_or_else(PoisonError::into_inner).nodes.get(&name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let dialled = self.shared.dialer.dial(node, &(self.shared.settings)()?).await?;
        let mut topology = self.shared.topology.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(topology.nodes.entry(name).or_insert(dialled).clone())
    }

    /// Sends each command to the node of its key, at the same time.
    pub(crate) async fn send(&self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        let mut answers = vec![Value::Nil; commands.len()];
        let mut left: Vec<usize> = (0..commands.len()).collect();
        let mut waits = SLOT_MOVED.iter();
        loop {
            let groups = self.by_node(commands, &left);
            let sent = groups.iter().map(|(node, group)| async move {
                let own: Vec<&Cmd> = group.iter().map(|i| &commands[*i]).collect();
                self.node(node).await?.send(&own).await
            });
            for ((_, group), answered) in groups.iter().zip(join_all(sent).await) {
                for (i, answer) in group.iter().zip(answered?) {
                    answers[*i] = answer;
                }
            }
            left.retain(|i| has_moved(&answers[*i]));
            match waits.next() {
                Some(wait) if !left.is_empty() => {
                    tokio::time::sleep(Duration::from_millis(*wait)).await;
                    self.refresh().await?;
                }
                _ => return Ok(answers),
            }
        }
    }

    fn by_node(&self, commands: &[Cmd], which: &[usize]) -> Vec<(Node, Vec<usize>)> {
        let topology = self.shared.topology.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<(Node, Vec<usize>)> = Vec::new();
        for i in which {
            let owner = key(&commands[*i]).and_then(|key| {
                let slot = slot(key);
                topology.ranges.iter().find(|range| (range.first..=range.last).contains(&slot))
            });
            let node = owner.map_or_else(|| self.shared.seeds.first(), |range| Some(&*range.node));
            let Some(node) = node else { continue };
            match groups.iter_mut().find(|(known, _)| known == node) {
                Some((_, group)) => group.push(*i),
                None => groups.push((node.clone(), vec![*i])),
            }
        }
        groups
    }
}

fn has_moved(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::Moved))
}

/// The masters by slots, from the answer to `CLUSTER SLOTS` by `asked`.
fn ranges(answer: Value, asked: &Node) -> RedisResult<Vec<Range>> {
    let unreadable = || RedisError::from((ErrorKind::UnexpectedReturnType, "the answer to CLUSTER SLOTS"));
    let Value::Array(rows) = answer else { return Err(unreadable()) };
    if rows.len() > MOST_RANGES {
        return Err(unreadable());
    }
    let (mut masters, mut names) = (HashSet::<Arc<Node>>::new(), 0);
    let mut range = |row: &Value| {
        let Value::Array(fields) = row else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &fields[..] else { return None };
        let [host, Value::Int(port), ..] = &master[..] else { return None };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => std::str::from_utf8(host).ok()?,
            Value::BulkString(_) | Value::Nil => &asked.host,
            _ => return None,
        };
        let node = Node { host: host.to_owned(), port: u16::try_from(*port).ok()? };
        let node = masters.get(&node).cloned().unwrap_or_else(|| node.into());
        if masters.insert(node.clone()) {
            names += node.host.len();
        }
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        let is_range = first <= last && last < SLOTS;
        let is_small = masters.len() <= MOST_MASTERS && names <= LONGEST_NAMES;
        (is_range && is_small).then_some(Range { first, last, node })
    };
    rows.iter().map(|row| range(row).ok_or_else(unreadable)).collect()
}

/// The key of a call of a script; `None` for other commands, which any node answers.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut arguments = command.args_iter();
    let is_script = matches!(arguments.next()?, Arg::Simple(name) if name.starts_with(b"EVAL"));
    match arguments.nth(2)? {
        Arg::Simple(key) if is_script => Some(key),
        _ => None,
    }
}

/// The slot of a key: of the part in braces, if there is one that is not empty.
fn slot(key: &[u8]) -> u16 {
    let at = |byte: u8, within: &[u8]| within.iter().position(|it| *it == byte);
    let tag = at(b'{', key).map(|open| &key[open + 1..]).and_then(|rest| at(b'}', rest).map(|end| &rest[..end]));
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc: u16, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{foo}:queue:a"), 12_182);
        assert_eq!(slot(b"a{}{foo}"), crc16(b"a{}{foo}") % SLOTS, "an empty tag is none");
        assert_eq!(key(redis::cmd("EVALSHA").arg("hash").arg(1).arg("k").arg("more")), Some(&b"k"[..]));
        assert_eq!(key(redis::cmd("INFO").arg("a").arg("b").arg("c")), None);
    }

    #[test]
    fn the_topology_is_read_or_refused() {
        let asked = Node { host: "seed".into(), port: 1 };
        let text = |text: &str| Value::BulkString(text.into());
        let row = |first, host, port| {
            Value::Array(vec![Value::Int(first), Value::Int(first), Value::Array(vec![host, Value::Int(port)])])
        };
        let read = ranges(Value::Array(vec![row(0, text("10.0.0.1"), 6379), row(1, Value::Nil, 7)]), &asked).unwrap();
        let nodes: Vec<_> = read.iter().map(|range| (range.node.host.as_str(), range.node.port)).collect();
        assert_eq!(nodes, [("10.0.0.1", 6379), ("seed", 7)]);
        assert!(ranges(Value::Array(vec![row(0, text("h"), 70_000)]), &asked).is_err());
        let many = std::iter::repeat_with(|| row(0, text("h"), 1)).take(MOST_RANGES + 1).collect();
        assert!(ranges(Value::Array(many), &asked).is_err());
        let slots = |first, last| {
            let master = Value::Array(vec![text("h"), Value::Int(1)]);
            ranges(Value::Array(vec![Value::Array(vec![Value::Int(first), Value::Int(last), master])]), &asked)
        };
        assert!(slots(0, 16_383).is_ok() && slots(5, 4).is_err() && slots(0, 16_384).is_err() && slots(-1, 4).is_err());
    }

    #[test]
    fn what_is_kept_of_a_cluster_is_small() {
        let asked = Node { host: "seed".into(), port: 1 };
        let read = |masters: u16, length: usize| {
            let row = |number: u16| {
                let host = Value::BulkString(format!("{:04}{}", number % masters, "x".repeat(length - 4)).into());
                let number = Value::Int(number.into());
                Value::Array(vec![number.clone(), number, Value::Array(vec![host, Value::Int(1)])])
            };
            ranges(Value::Array((0..4_096).map(row).collect()), &asked)
        };
        let ranges = read(900, 70).unwrap();
        assert!(Arc::ptr_eq(&ranges[7].node, &ranges[907].node), "one node for all its ranges");
        assert!(read(1_001, 10).is_err(), "masters");
        assert!(read(900, 80).is_err() && read(1, 1 << 20).is_err(), "bytes of names");
    }
}
