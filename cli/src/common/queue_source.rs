//! Which queues a page shows: those of manifests and flags, or those of a cluster.

use std::collections::HashSet;
use std::sync::Arc;

use clap::Args;
use jobqueue_inspect::source::{Backlog, ClusterSettings, ClusterSource, LocalQueue, LocalSource, Problem, Source};
use jobqueue_queue::{Connection, Protocol};

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::target::Target;

/// Flags that name a cluster, or a part of it.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Namespace of a cluster [default: the context's]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces of a cluster
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The kubeconfig's context to use
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

/// With -f, --queue or --redis these queues, otherwise those of a cluster.
pub(crate) async fn source(global: &GlobalArgs, args: &ClusterArgs) -> anyhow::Result<Arc<dyn Source>> {
    let in_cluster = args.namespace.is_some() || args.all_namespaces || args.context.is_some();
    let redis = global.redis.clone().filter(|url| !url.is_empty());
    let named = !global.filename.is_empty() || !global.queue.is_empty() || redis.is_some();
    if named && !in_cluster {
        return local(global);
    }
    if !global.filename.is_empty() {
        let hint = "leave -f out for the queues of a cluster, or -n, -A and --context for those of the manifest";
        return Err(Failure::new(Exit::Usage, "both a manifest and a cluster are named").hint(hint).into());
    }
    let settings = ClusterSettings {
        context: args.context.clone(),
        namespaces: args.namespace.iter().cloned().collect(),
        all_namespaces: args.all_namespaces,
        redis,
        tls: global.tls.read()?,
        ..ClusterSettings::default()
    };
    let source = ClusterSource::start(settings).await.map_err(|problem| {
        let exit = if matches!(problem, Problem::NotFound(_)) { Exit::NotFound } else { Exit::Usage };
        let hint =
            "set KUBECONFIG, or name one of its contexts with --context; -f MANIFEST shows a queue without a cluster";
        Failure::new(exit, problem.to_string()).hint(hint)
    })?;
    Ok(source)
}

/// The queues of the manifests, or those that flags name; all RQ queues where none is named.
fn local(global: &GlobalArgs) -> anyhow::Result<Arc<dyn Source>> {
    let mut queues = Vec::new();
    let mut servers: Vec<String> = Vec::new();
    let mut connections: Vec<(Target, Connection)> = Vec::new();
    for target in Target::all_from_args(global)? {
        // Thousands of queues may be on one Redis.
        let known = connections.iter().find(|(other, _)| other.has_redis_of(&target));
        let connection = match known {
            Some((_, connection)) => connection.clone(),
            None => target.redis()?,
        };
        if !servers.iter().any(|server| server == connection.endpoint()) {
            servers.push(connection.endpoint().to_owned());
        }
        if target.queues.is_empty() && target.protocol == Protocol::Rq {
            return Ok(LocalSource::all_rq_queues(servers.join(", "), connection, target.key_prefix));
        }
        let queue = |name: String, names: Vec<String>| LocalQueue {
            name,
            backlog: Backlog { connection: connection.clone(), query: target.stats_query(names) },
            spec: target.manifest.as_ref().map(|manifest| manifest.spec.clone()),
        };
        let names = target.some_queues()?;
        match target.manifest.as_ref().and_then(|manifest| manifest.metadata.name.clone()) {
            Some(name) => queues.push(queue(name, names.to_vec())),
            None => queues.extend(names.iter().map(|name| queue(name.clone(), vec![name.clone()]))),
        }
        if known.is_none() {
            connections.push((target, connection));
        }
    }
    let mut names = HashSet::new();
    if let Some(twice) = queues.iter().find(|queue| !names.insert(queue.name.as_str())) {
        let message = format!("two JobQueues of the manifests are called {}", twice.name);
        return Err(Failure::new(Exit::Usage, message)
            .hint("without a cluster a name is all that tells them apart")
            .into());
    }
    Ok(LocalSource::new(servers.join(", "), queues))
}
