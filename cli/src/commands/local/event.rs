//! What happens in a run: a line for a person, or a JSON object for a program.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Something that a person may want to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// A URL of the manifest names a host that is not known here.
    UnknownHost {
        /// The URL, redacted.
        url: String,
        /// The host.
        host: String,
    },
    /// The manifest keeps a URL in a Secret, and no other was given: something of our own is used.
    Secret {
        /// Of what.
        what: &'static str,
        /// The Secret's name.
        name: String,
        /// The key within it.
        key: String,
        /// The flag that gives another URL.
        flag: &'static str,
    },
    /// The Redis of this run.
    Redis {
        /// Its URL, redacted.
        url: String,
        /// Where its data is, if it is our own.
        directory: Option<PathBuf>,
        /// Whether it ran already.
        found: bool,
    },
    /// The database of this run.
    Database {
        /// Its URL, redacted.
        url: String,
    },
    /// The DDL was run.
    Schema {
        /// Its file.
        path: PathBuf,
    },
    /// The recipe fits the tables, and may lose something all the same.
    Recipe {
        /// What.
        warning: String,
    },
    /// The workers of this run.
    Workers {
        /// Their executable.
        binary: PathBuf,
        /// Where they log to.
        log: Option<PathBuf>,
    },
    /// The number of workers changes.
    Scaled {
        /// Before.
        from: u32,
        /// After.
        to: u32,
        /// Why, in one word.
        reason: String,
        /// Why, in a sentence.
        message: String,
    },
    /// A worker ended unasked.
    WorkerEnded {
        /// Which start of a worker.
        worker: u64,
        /// How.
        how: String,
        /// When it starts again, in seconds; none: it does not.
        restart_seconds: Option<f64>,
    },
    /// A worker that was draining did not end well.
    DrainFailed {
        /// Which start of a worker.
        worker: u64,
        /// How it ended.
        how: String,
    },
    /// A worker had not drained in its time.
    Killed {
        /// Which start of a worker.
        worker: u64,
    },
    /// Redis cannot be read.
    RedisAway {
        /// Its words.
        cause: String,
    },
    /// The private Redis had ended, and is started again.
    RedisRestarted,
    /// Redis can be read again.
    RedisBack {
        /// How long it was away, in seconds.
        seconds: f64,
    },
    /// Workers say what keeps them from their work.
    Trouble {
        /// In their words.
        message: String,
    },
    /// They do not say so any more.
    TroubleOver,
    /// A job failed and will be tried again; each reason is told once.
    Retried {
        /// The job, and why.
        message: String,
    },
    /// The queues are suspended: the workers claim nothing.
    Suspended {
        /// Jobs that wait.
        waiting: u64,
    },
    /// The queues are not suspended any more.
    Resumed,
    /// Nothing waits, runs or is scheduled.
    Empty,
    /// ... and nothing did in this run.
    Nothing {
        /// The queues.
        queues: Vec<String>,
        /// What their producers speak.
        protocol: String,
        /// The URL of their Redis, redacted.
        redis: String,
    },
    /// A person asked for the end.
    Stopping {
        /// How often.
        times: u32,
    },
}

impl Event {
    /// Whether something is wrong.
    pub(crate) fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost { .. }
                | Self::Recipe { .. }
                | Self::WorkerEnded { .. }
                | Self::DrainFailed { .. }
                | Self::Killed { .. }
                | Self::RedisAway { .. }
                | Self::RedisRestarted
                | Self::Trouble { .. }
                | Self::Retried { .. }
                | Self::Suspended { .. }
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { url, host } => {
                write!(f, "the manifest's {url} is not used: the host {host} is not known here")
            }
            Self::Secret { what, name, key, flag } => {
                write!(f, "Secret {name} (key {key}) is not read here: for another URL of {what} pass {flag}")
            }
            Self::Redis { url, directory: None, .. } => write!(f, "redis     {url}"),
            Self::Redis { url, directory: Some(directory), found } => {
                let found = if *found { "ran already" } else { "private" };
                write!(f, "redis     {url} ({found}, data in {})", directory.display())
            }
            Self::Database { url } => write!(f, "database  {url}"),
            Self::Schema { path } => write!(f, "schema    {} was run", path.display()),
            Self::Recipe { warning } => write!(f, "{warning}"),
            Self::Workers { binary, log: None } => write!(f, "workers   {}", binary.display()),
            Self::Workers { binary, log: Some(log) } => {
                write!(f, "workers   {} (log in {})", binary.display(), log.display())
            }
            Self::Scaled { from, to, message, .. } => write!(f, "workers {from} -> {to}: {message}"),
            Self::WorkerEnded { worker, how, restart_seconds: Some(seconds) } => {
                write!(f, "worker {worker} {how}; another starts in {seconds:.1} s")
            }
            Self::WorkerEnded { worker, how, restart_seconds: None } => write!(f, "worker {worker} {how}"),
            Self::DrainFailed { worker, how } => {
                write!(f, "worker {worker} {how} while draining; its jobs run again when their leases lapse")
            }
            Self::Killed { worker } => write!(f, "worker {worker} has not drained in time and is killed"),
            Self::RedisAway { cause } => write!(f, "the queue cannot be read: {cause}"),
            Self::RedisRestarted => write!(f, "the private Redis has ended and is started again"),
            Self::RedisBack { seconds } => write!(f, "the queue can be read again after {seconds:.1} s"),
            Self::Trouble { message } => write!(f, "no job can be written: {message}"),
            Self::TroubleOver => write!(f, "jobs can be written again"),
            Self::Retried { message } => write!(f, "a job failed and is tried again: {message}"),
            Self::Suspended { waiting } => {
                write!(f, "suspended (`rq suspend`): {waiting} waiting, none of it is begun before `rq resume`")
            }
            Self::Resumed => write!(f, "no longer suspended: the workers go on"),
            Self::Empty => write!(f, "the queue is empty: draining the workers"),
            Self::Nothing { queues, protocol, redis } => {
                let queues = queues.join(", ");
                write!(f, "there was nothing to do in this run: no job in {queues} ({protocol}) of {redis}")
            }
            Self::Stopping { times: 1 } => write!(f, "draining the workers; once more gives back what they have"),
            Self::Stopping { times: 2 } => write!(f, "giving back what the workers have; once more kills them"),
            Self::Stopping { .. } => write!(f, "killing the workers; their jobs run again when their leases lapse"),
        }
    }
}
