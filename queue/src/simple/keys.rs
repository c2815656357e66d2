//! The names of the keys of a list or stream: its own, and those of its sidecar keys.

use crate::{Protocol, QueueError};

/// A list or stream, and the prefix of its sidecar keys. All of them are in one slot of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueKeys {
    /// The user's key.
    pub(crate) key: String,
    /// `jobqueue:{key}` for a list, `jobqueue:{key}:group` for a stream; without braces of ours where the key has its
    /// own hash tag. After it come `:job:ID` (hash: record, attempts, execution, worker, failures; `error:N`, `at:N`, `by:N`),
    /// `:ready` (list of ids to serve before the backlog), `:lease`, `:scheduled`, `:failed`, `:workers` (sorted sets by
    /// time in ms, leases in µs), `:worker:NAME` (hash), and `:seq` for lists, `:cursor` for streams; `:commands` is a channel.
    pub(crate) prefix: String,
    /// The consumer group; empty for a list.
    pub(crate) group: String,
}

impl QueueKeys {
    /// # Errors
    /// `Config` if no sidecar key of `key` can be in its slot.
    pub(crate) fn new(protocol: Protocol, key: &str, group: &str) -> Result<Self, QueueError> {
        let tagged = if hash_tag(key).is_some() { key.to_owned() } else { format!("{{{key}}}") };
        if hash_tag(&tagged) != Some(hash_tag(key).unwrap_or(key)) {
            return Err(QueueError::Config(format!("the key {key:?} has braces that make no hash tag; rename it")));
        }
        Ok(match protocol {
            Protocol::Stream => {
                Self { key: key.into(), prefix: format!("jobqueue:{tagged}:{group}"), group: group.into() }
            }
            Protocol::Rq | Protocol::List => {
                Self { key: key.into(), prefix: format!("jobqueue:{tagged}"), group: String::new() }
            }
        })
    }

    /// The channel on which people ask for a job to be stopped.
    pub(crate) fn commands(&self) -> String {
        format!("{}:commands", self.prefix)
    }

    /// The failed jobs: a sorted set of ids, by the time of their failure.
    pub(crate) fn failed(&self) -> String {
        format!("{}:failed", self.prefix)
    }

    /// A job's hash.
    pub(crate) fn job(&self, id: &str) -> String {
        format!("{}:job:{id}", self.prefix)
    }
}

/// What a cluster hashes instead of the whole key: the text between the first `{` and the next `}`, unless empty.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    rest.split_once('}').map(|(tag, _)| tag).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(key: &str) -> Option<String> {
        QueueKeys::new(Protocol::List, key, "").ok().map(|keys| keys.prefix)
    }

    #[test]
    fn sidecar_keys_of_a_queue_share_its_slot() {
        assert_eq!(prefix("companies").as_deref(), Some("jobqueue:{companies}"));
        assert_eq!(prefix("{etl}:companies").as_deref(), Some("jobqueue:{etl}:companies"));
        assert_eq!(prefix("a{b").as_deref(), Some("jobqueue:{a{b}"));
        assert_eq!(prefix("a{}b"), None);
        assert_eq!(prefix("a}b"), None);
        assert_eq!(QueueKeys::new(Protocol::Stream, "s", "g").unwrap().prefix, "jobqueue:{s}:g");
    }
}
