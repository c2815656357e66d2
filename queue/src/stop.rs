//! Asking whoever works on a job to stop it, in any protocol, and seeing what came of it.

use redis::Cmd;
use serde_json::json;

use crate::rq::Keys;
use crate::simple::{QueueKeys, STOPPED};
use crate::{Connection, Protocol, QueueError};

/// Where a job stands, as far as a stop is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Redis knows no such job that anybody has taken.
    Unknown,
    /// A worker has it in hand.
    Running {
        /// Its name.
        worker: String,
    },
    /// A person stopped it: it is in the failed registry.
    Stopped,
    /// Anything else, by its name.
    Other(String),
}

/// Whether somebody heard the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A worker listens.
    Heard,
    /// Nobody does: the worker is gone, or may not subscribe.
    Unheard,
}

/// Stops jobs of some queues.
pub struct Stopper {
    connection: Connection,
    queues: Queues,
}

enum Queues {
    Rq(Keys),
    Simple(Vec<QueueKeys>),
}

impl Stopper {
    /// For RQ every job under the prefix, whatever its queue; for lists and streams those of `queues`.
    ///
    /// # Errors
    /// `Config` for a prefix or a key that cannot be.
    pub fn new(
        connection: Connection,
        protocol: Protocol,
        key_prefix: &str,
        group: &str,
        queues: &[String],
    ) -> Result<Self, QueueError> {
        let known = match protocol {
            Protocol::Rq => Queues::Rq(Keys::new(key_prefix, connection.is_cluster())?),
            Protocol::List | Protocol::Stream => {
                let keys = |queue: &String| QueueKeys::new(protocol, queue, group);
                Queues::Simple(queues.iter().map(keys).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { connection, queues: known })
    }

    /// Where the job stands.
    pub async fn standing(&self, job: &str) -> Result<Standing, QueueError> {
        match &self.queues {
            Queues::Rq(keys) => self.standing_in_rq(keys, job).await,
            Queues::Simple(queues) => {
                for keys in queues {
                    let standing = self.standing_in_simple(keys, job).await?;
                    if standing != Standing::Unknown {
                        return Ok(standing);
                    }
                }
                Ok(Standing::Unknown)
            }
        }
    }

    async fn standing_in_rq(&self, keys: &Keys, job: &str) -> Result<Standing, QueueError> {
        let ask = redis::cmd("HMGET").arg(keys.job(job)).arg(&["status", "worker_name"]).to_owned();
        let (status, worker): (Option<String>, Option<String>) = self.connection.query(&ask).await?;
        Ok(match (status.as_deref(), worker) {
            (None, _) => Standing::Unknown,
            (Some("started"), Some(worker)) if !worker.is_empty() => Standing::Running { worker },
            (Some("stopped"), _) => Standing::Stopped,
            (Some(status), _) => Standing::Other(status.to_owned()),
        })
    }

    async fn standing_in_simple(&self, keys: &QueueKeys, job: &str) -> Result<Standing, QueueError> {
        let ask =
            redis::cmd("HMGET").arg(keys.job(job)).arg(&["execution", "worker", "failures", "attempts"]).to_owned();
        let (execution, worker, failures, attempts): (Option<String>, Option<String>, Option<u64>, Option<String>) =
            self.connection.query(&ask).await?;
        if execution.is_some_and(|execution| !execution.is_empty()) {
            return Ok(Standing::Running { worker: worker.unwrap_or_default() });
        }
        let failed = redis::cmd("ZSCORE").arg(keys.failed()).arg(job).to_owned();
        if self.connection.query::<Option<f64>>(&failed).await?.is_some() {
            let error = format!("error:{}", failures.unwrap_or(0));
            let reason = redis::cmd("HGET").arg(keys.job(job)).arg(error).to_owned();
            let reason: Option<String> = self.connection.query(&reason).await?;
            let stopped = reason.as_deref() == Some(STOPPED);
            return Ok(if stopped { Standing::Stopped } else { Standing::Other("failed".into()) });
        }
        Ok(attempts.map_or(Standing::Unknown, |_| Standing::Other("queued".into())))
    }

    /// Asks the worker that has the job in hand to stop it.
    pub async fn ask(&self, job: &str) -> Result<Asked, QueueError> {
        let heard = match &self.queues {
            Queues::Rq(keys) => match self.standing_in_rq(keys, job).await? {
                Standing::Running { worker } => self.publish(&keys.commands(&worker), job).await?,
                _ => 0,
            },
            Queues::Simple(queues) => {
                let mut heard = 0;
                for keys in queues {
                    if let Standing::Running { .. } = self.standing_in_simple(keys, job).await? {
                        heard += self.publish(&keys.commands(), job).await?;
                    }
                }
                heard
            }
        };
        Ok(if heard > 0 { Asked::Heard } else { Asked::Unheard })
    }

    /// As `rq.command.send_stop_job_command` does. In a cluster the answer counts one node's listeners only.
    async fn publish(&self, channel: &str, job: &str) -> Result<u64, QueueError> {
        let message = json!({"command": "stop-job", "job_id": job}).to_string();
        let command: Cmd = redis::cmd("PUBLISH").arg(channel).arg(message).to_owned();
        let heard: u64 = self.connection.query(&command).await?;
        Ok(if self.connection.is_cluster() { heard.max(1) } else { heard })
    }
}
