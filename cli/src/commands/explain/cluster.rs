//! Reads one JobQueue from the cluster that the person's kubeconfig, or the pod, names.

use jobqueue_crds::JobQueue;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::common::exit::{Exit, Failure};

/// The JobQueue with its status.
pub(super) async fn get(name: &str, namespace: Option<&str>, context: Option<&str>) -> anyhow::Result<JobQueue> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = config(context).await?;
    let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
    let url = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
    let api: Api<JobQueue> = Api::namespaced(client, &namespace);
    api.get(name).await.map_err(|error| refusal(&error, name, &namespace, &url).into())
}

async fn config(context: Option<&str>) -> anyhow::Result<Config> {
    let Some(context) = context else {
        return Config::infer().await.map_err(|error| no_cluster(&error).into());
    };
    let kubeconfig = Kubeconfig::read().map_err(|error| no_cluster(&error))?;
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no_cluster(&error).into())
}

fn no_cluster(error: &dyn std::fmt::Display) -> Failure {
    let hint = "set KUBECONFIG, or name one of its contexts with --context";
    Failure::new(Exit::Usage, format!("there is no cluster to ask: {error}")).hint(hint)
}

fn refusal(error: &kube::Error, name: &str, namespace: &str, url: &str) -> Failure {
    match error {
        kube::Error::Api(answer) if answer.code == 404 => {
            let missing = format!("there is no JobQueue {name} in namespace {namespace}");
            Failure::new(Exit::NotFound, missing).hint("kubectl get jobqueues --all-namespaces lists them")
        }
        kube::Error::Api(answer) => Failure::new(Exit::Unreachable, answer.message.clone()),
        other => Failure::new(Exit::Unreachable, format!("the API server at {url} does not answer: {other}")),
    }
}
