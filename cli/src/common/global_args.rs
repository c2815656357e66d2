//! The flags that every command knows.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::common::exit::{Exit, Failure};
use crate::common::output::Format;
use crate::common::tls::TlsFiles;

/// Where the queue is, and how to print. Without Debug: the URLs may hold passwords.
#[derive(Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// How data is printed on stdout
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Manifest that names the queues, the protocol and the URLs; flags win over it. `simulate` compares several
    #[arg(short, long, global = true, value_name = "MANIFEST")]
    pub(crate) filename: Vec<PathBuf>,
    /// Redis: `redis://`, `rediss://`, `redis+sentinel://h1,h2/MASTER/DB`, `redis+cluster://h1,h2`, `unix:///SOCKET`
    #[arg(long, global = true, env = "JOBQUEUE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsFiles,
    /// Database: `postgres://`, `mysql://`, `sqlite:PATH`
    #[arg(long, global = true, env = "JOBQUEUE_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Queue name, or the Redis key of a list or stream; may be repeated where several make sense
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) queue: Vec<String>,
    /// The wire format of the queue [default: RQ, or the manifest's]
    #[arg(long, global = true, value_enum, ignore_case = true)]
    pub(crate) protocol: Option<ProtocolArg>,
    /// RQ's key prefix, if the producers set `RQ_KEY_PREFIX` [default: rq, or the manifest's]
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(crate) key_prefix: Option<String>,
}

impl GlobalArgs {
    /// The manifest, if one is given, where no more than one makes sense.
    pub(crate) fn manifest(&self) -> Result<Option<&Path>, Failure> {
        match self.filename.as_slice() {
            [] => Ok(None),
            [path] => Ok(Some(path)),
            _ => Err(Failure::new(Exit::Usage, "several manifests are given").hint("give one with -f FILE")),
        }
    }
}

/// The wire formats, as flags spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolArg {
    /// Python RQ jobs.
    Rq,
    /// Elements of a Redis list.
    List,
    /// Entries of a Redis stream.
    Stream,
}
