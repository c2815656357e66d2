//! Which queue, on which Redis, with which recipe: flags first, then the manifest, then defaults.

use std::path::Path;

use anyhow::Context;
use jobqueue_api::QueueSettings;
use jobqueue_crds::{JobQueue, ManifestError, SecretKeyRef};
use jobqueue_ingest::{IngestSpec, Recipe};
use jobqueue_queue::{Connection, ConnectionUrl, Protocol, StatsQuery, Timeouts};

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::{GlobalArgs, ProtocolArg};
use crate::common::output::{Format, Output};
#[cfg(unix)]
use crate::common::private_redis::private_redis_url;
use crate::common::tls::TlsFiles;

/// Local mode, which starts a Redis of its own, is for Unix.
#[cfg(not(unix))]
fn private_redis_url(_: &str, _: &Path) -> Option<String> {
    None
}

/// What the command line and the manifest say together.
// No Debug: the URLs may hold passwords.
pub(crate) struct Target {
    /// The manifest, if one was given.
    pub(crate) manifest: Option<JobQueue>,
    /// The wire format.
    pub(crate) protocol: Protocol,
    /// Queue names, or keys of lists and streams; may be empty.
    pub(crate) queues: Vec<String>,
    /// RQ's key prefix.
    pub(crate) key_prefix: String,
    /// A stream's consumer group.
    pub(crate) consumer_group: String,
    redis: Option<String>,
    tls: TlsFiles,
    pub(crate) database: Option<String>,
}

impl Target {
    /// Reads the manifest, if there is one, and lets the flags win.
    pub(crate) fn from_args(args: &GlobalArgs) -> anyhow::Result<Self> {
        let manifest = args.manifest()?.map(|path| Ok::<_, anyhow::Error>((read_manifest(path, None)?, path)));
        Ok(Self::new(args, manifest.transpose()?))
    }

    /// The same for every JobQueue of every manifest; without a manifest, what the flags say.
    pub(crate) fn all_from_args(args: &GlobalArgs) -> anyhow::Result<Vec<Self>> {
        if args.filename.is_empty() {
            return Ok(vec![Self::new(args, None)]);
        }
        let mut targets = Vec::new();
        for path in &args.filename {
            let queues = read_manifests(path, JobQueue::from_yaml)?;
            targets.extend(queues.into_iter().map(|queue| Self::new(args, Some((queue, path)))));
        }
        Ok(targets)
    }

    fn new(args: &GlobalArgs, manifest: Option<(JobQueue, &Path)>) -> Self {
        let (manifest, path) = manifest.unzip();
        let mut queue = manifest.as_ref().map_or_else(
            || QueueSettings::new(Protocol::default(), Vec::new()),
            |manifest| manifest.spec.queue.settings.clone(),
        );
        if let Some(flag) = args.protocol {
            queue.protocol = protocol_of_flag(flag);
        }
        if !args.queue.is_empty() {
            queue.names.clone_from(&args.queue);
        }
        if let Some(prefix) = &args.key_prefix {
            queue.key_prefix.clone_from(prefix);
        }
        // What `jobqueue local` serves with this manifest, other commands find too.
        let private = || {
            let name = manifest.as_ref()?.metadata.name.as_deref()?;
            private_redis_url(name, path?)
        };
        let given = args.redis.clone().filter(|url| !url.is_empty());
        let private = if given.is_none() { private() } else { None };
        // Our own Redis is on the loopback, without TLS.
        let tls = if private.is_some() { TlsFiles::default() } else { args.tls.clone() };
        Self {
            protocol: queue.protocol,
            queues: queue.names,
            key_prefix: queue.key_prefix,
            consumer_group: queue.consumer_group,
            redis: given.or(private),
            tls,
            database: args.database.clone(),
            manifest,
        }
    }

    /// Whether both have one Redis, and the same account there.
    pub(crate) fn has_redis_of(&self, other: &Self) -> bool {
        let named = |target: &Self| target.manifest.as_ref().map(|manifest| manifest.spec.queue.redis.clone());
        self.redis == other.redis && (self.redis.is_some() || named(self) == named(other))
    }

    /// The queue that new jobs go to: of several, the last, since the earlier ones are for what is more urgent.
    pub(crate) fn ordinary_queue(&self) -> anyhow::Result<&str> {
        let queues = self.some_queues()?;
        Ok(&queues[queues.len() - 1])
    }

    /// The queues that the command is about, one at least.
    pub(crate) fn some_queues(&self) -> anyhow::Result<&[String]> {
        if self.queues.is_empty() {
            let hint = "name it with --queue NAME, or give a manifest with -f";
            return Err(Failure::new(Exit::Usage, "no queue is named").hint(hint).into());
        }
        Ok(&self.queues)
    }

    /// What asks for the numbers of these queues.
    pub(crate) fn stats_query(&self, names: Vec<String>) -> StatsQuery {
        let Self { protocol, key_prefix, consumer_group, .. } = self;
        StatsQuery {
            protocol: *protocol,
            names,
            key_prefix: key_prefix.clone(),
            consumer_group: consumer_group.clone(),
        }
    }

    /// A connection to Redis; it is made when first used.
    pub(crate) fn redis(&self) -> anyhow::Result<Connection> {
        let connection = self.manifest.as_ref().map(|manifest| &manifest.spec.queue.redis);
        let secret = connection.and_then(|redis| redis.url_secret_key_ref.as_ref());
        let given = self.redis.as_deref().or_else(|| connection.and_then(|redis| redis.url.as_deref()));
        let text = required(given, secret, "Redis", "--redis URL", "JOBQUEUE_REDIS_URL")?;
        let url: ConnectionUrl = text.parse().map_err(|error| usage(&error))?;
        if self.redis.is_none() {
            self.tls.replace(connection.and_then(|redis| redis.tls.as_ref()))?;
        }
        Connection::new(&url, &self.tls.read()?, Timeouts::default()).map_err(|error| usage(&error))
    }

    /// The manifest's recipes as written, one at least.
    pub(crate) fn ingest(&self) -> anyhow::Result<&[IngestSpec]> {
        let Some(manifest) = &self.manifest else {
            return Err(Failure::new(Exit::Usage, "a recipe is needed").hint("give the manifest with -f FILE").into());
        };
        let Some(sections) = &manifest.spec.ingest else {
            let message = "the manifest has no ingest section, so there is no recipe to follow";
            return Err(Failure::new(Exit::Usage, message).into());
        };
        Ok(sections)
    }

    /// The manifest's recipes, compiled; every problem is told.
    pub(crate) fn recipe(&self) -> anyhow::Result<Recipe> {
        Recipe::compile_in(self.ingest()?, self.time_zone()?.unwrap_or_default()).map_err(|problems| {
            let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
            Failure::new(Exit::Usage, format!("the recipe has {} problem(s):\n{}", list.len(), list.join("\n"))).into()
        })
    }

    /// The first function that the manifest's recipes serve.
    pub(crate) fn first_function(&self) -> Option<String> {
        let sections = self.manifest.as_ref()?.spec.ingest.as_ref()?;
        sections.iter().find_map(|section| section.functions.first().cloned())
    }
}

/// The JobQueue called `name`, or the only one in the file.
pub(crate) fn read_manifest(path: &Path, name: Option<&str>) -> anyhow::Result<JobQueue> {
    read_manifests(path, |text| JobQueue::one_from_yaml(text, name))
}

fn read_manifests<T>(path: &Path, read: impl Fn(&str) -> Result<T, ManifestError>) -> anyhow::Result<T> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot read the manifest {shown}: {error}"))
    })?;
    for warning in JobQueue::yaml_warnings(&text) {
        Output::for_process(Format::Text).warn(&format!("{shown}: {warning}"));
    }
    read(&text).map_err(|error| Failure::new(Exit::Usage, error.to_string())).with_context(|| format!("{shown}"))
}

/// The URL that was given, or what to do about its absence.
pub(crate) fn required<'a>(
    given: Option<&'a str>,
    secret: Option<&SecretKeyRef>,
    what: &str,
    flag: &str,
    variable: &str,
) -> anyhow::Result<&'a str> {
    if let Some(given) = given.filter(|text| !text.is_empty()) {
        return Ok(given);
    }
    let hint = format!("pass {flag}, or set {variable}");
    let message = match secret {
        Some(SecretKeyRef { name, key }) => {
            format!("the manifest takes the URL of {what} from key {key} of Secret {name}, which is not read here")
        }
        None => format!("the URL of {what} is not given"),
    };
    Err(Failure::new(Exit::Usage, message).hint(hint).into())
}

/// A wrong setting.
pub(crate) fn usage(error: &dyn std::fmt::Display) -> anyhow::Error {
    Failure::new(Exit::Usage, error.to_string()).into()
}

fn protocol_of_flag(flag: ProtocolArg) -> Protocol {
    match flag {
        ProtocolArg::Rq => Protocol::Rq,
        ProtocolArg::List => Protocol::List,
        ProtocolArg::Stream => Protocol::Stream,
    }
}
