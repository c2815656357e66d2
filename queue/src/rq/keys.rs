//! The names of RQ's keys. The scripts build the same names from the same prefix.

use crate::QueueError;

/// Names keys under one prefix (`rq` unless the producers set `RQ_KEY_PREFIX`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Checks the prefix by RQ 3.0's rule; a cluster needs a `{tag}` in it, which puts all keys in one slot.
    pub fn new(prefix: &str, is_cluster: bool) -> Result<Self, QueueError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.:{}-".contains(c);
        if prefix.is_empty() || !prefix.chars().all(is_allowed) {
            return Err(QueueError::Config(format!(
                "the key prefix {prefix:?} is not one RQ accepts: letters, digits and _ . : {{ }} -"
            )));
        }
        if is_cluster && !has_tag(prefix) {
            return Err(QueueError::Config(format!(
                "an RQ queue on a Redis Cluster needs a key prefix with a hash tag, such as {{rq}}, and has {prefix:?} \
                 (producers: RQ_KEY_PREFIX, rq 3.0)"
            )));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The list of waiting job ids; its head is next.
    pub fn queue(&self, queue: &str) -> String {
        format!("{}:queue:{queue}", self.prefix)
    }

    /// Ids a Python worker took and has not started yet.
    pub fn intermediate(&self, queue: &str) -> String {
        format!("{}:queue:{queue}:intermediate", self.prefix)
    }

    /// The started jobs: member `job:execution`, score the end of the lease.
    pub fn wip(&self, queue: &str) -> String {
        format!("{}:wip:{queue}", self.prefix)
    }

    /// The scheduled jobs, by due time.
    pub fn scheduled(&self, queue: &str) -> String {
        format!("{}:scheduled:{queue}", self.prefix)
    }

    /// The failed jobs, by expiry.
    pub fn failed(&self, queue: &str) -> String {
        format!("{}:failed:{queue}", self.prefix)
    }

    /// The set of all queue keys.
    pub fn queues(&self) -> String {
        format!("{}:queues", self.prefix)
    }

    /// A job's hash.
    pub fn job(&self, job: &str) -> String {
        format!("{}:job:{job}", self.prefix)
    }

    /// A job's results stream.
    pub fn results(&self, job: &str) -> String {
        format!("{}:results:{job}", self.prefix)
    }

    /// A worker's hash.
    pub fn worker(&self, worker: &str) -> String {
        format!("{}:worker:{worker}", self.prefix)
    }

    /// The worker keys of one queue.
    pub fn workers_of(&self, queue: &str) -> String {
        format!("{}:workers:{queue}", self.prefix)
    }

    /// Commands to one worker.
    pub fn commands(&self, worker: &str) -> String {
        format!("{}:pubsub:{worker}", self.prefix)
    }
}

/// A `{…}` with something inside, as Redis Cluster reads it.
fn has_tag(prefix: &str) -> bool {
    prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}')).is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_wants_a_tag() {
        assert!(Keys::new("rq", false).is_ok());
        assert!(Keys::new("{rq}", true).is_ok());
        assert!(Keys::new("app:{rq}", true).is_ok());
        assert!(Keys::new("rq", true).is_err());
        assert!(Keys::new("rq{}", true).is_err());
        assert!(Keys::new("r q", false).is_err());
        assert!(Keys::new("", false).is_err());
    }
}
