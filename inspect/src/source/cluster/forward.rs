//! A port of the loopback that leads to a pod of a Service, through the API server: what `kubectl port-forward` does.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::refusal;
use crate::source::Problem;

/// Serves as long as it lives.
pub(super) struct Forward {
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where connections go.
struct Target {
    client: Client,
    namespace: String,
    service: String,
    port: u16,
}

impl Forward {
    /// Opens a port and tries the way once, so that a missing right is known before anybody waits.
    pub(super) async fn start(client: Client, namespace: &str, service: &str, port: u16) -> Result<Self, Problem> {
        let target = Target { client, namespace: namespace.to_owned(), service: service.to_owned(), port };
        let (pod, pod_port) = target.pod().await?;
        drop(target.open(&pod, pod_port).await?);
        let failed =
            |error: std::io::Error| Problem::Unavailable(format!("No port can be opened on the loopback: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let task = tokio::spawn(async move {
            let target = std::sync::Arc::new(target);
            // Dropped with this task, and its connections with it.
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let target = std::sync::Arc::clone(&target);
                connections.spawn(async move {
                    // The pod may be another one by now. Who waits at the near end sees that it closes.
                    let Ok((pod, port)) = target.pod().await else { return };
                    let Ok(mut forwarder) = target.open(&pod, port).await else { return };
                    if let Some(mut far) = forwarder.take_stream(port) {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, task })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Target {
    /// A pod that is ready, and its port.
    async fn pod(&self) -> Result<(Pod, u16), Problem> {
        let Self { namespace, service, .. } = self;
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let found = services.get(service).await;
        let found =
            found.map_err(|error| refusal(&error, "get", "services", &format!("Service {service}"), namespace))?;
        let spec = found.spec.unwrap_or_default();
        let selector = spec.selector.unwrap_or_default();
        if selector.is_empty() {
            return Err(Problem::Unavailable(format!(
                "Service {service} in namespace {namespace} has no selector, so there is no pod to forward to: pass --redis URL."
            )));
        }
        let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = pods.list(&ListParams::default().labels(&labels.join(",")).limit(100)).await;
        let pods = pods
            .map_err(|error| refusal(&error, "list", "pods", &format!("the pods of Service {service}"), namespace))?;
        let pod = pods.items.into_iter().find(is_ready).ok_or_else(|| {
            Problem::Unavailable(format!("No pod of Service {service} in namespace {namespace} is ready."))
        })?;
        let ports = spec.ports.unwrap_or_default();
        let wanted =
            ports.iter().find(|port| port.port == i32::from(self.port)).and_then(|port| port.target_port.clone());
        let port = port_of(&pod, wanted.as_ref()).unwrap_or(self.port);
        Ok((pod, port))
    }

    async fn open(&self, pod: &Pod, port: u16) -> Result<kube::api::Portforwarder, Problem> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        pods.portforward(name, &[port]).await.map_err(|error| {
            let problem =
                refusal(&error, "create", "pods/portforward", &format!("Redis in pod {name}"), &self.namespace);
            Problem::Unavailable(format!("{problem} Or pass --redis URL."))
        })
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The number of a target port that may be a name.
fn port_of(pod: &Pod, wanted: Option<&IntOrString>) -> Option<u16> {
    match wanted? {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let containers = &pod.spec.as_ref()?.containers;
            let mut ports = containers.iter().flat_map(|container| container.ports.as_deref().unwrap_or_default());
            let port = ports.find(|port| port.name.as_deref() == Some(name))?;
            u16::try_from(port.container_port).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_target_port_may_be_a_number_or_a_name() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "redis", "ports": [{"name": "redis", "containerPort": 6380}]}]},
        }))
        .expect("a pod");
        assert_eq!(port_of(&pod, Some(&IntOrString::String("redis".into()))), Some(6380));
        assert_eq!(port_of(&pod, Some(&IntOrString::String("other".into()))), None);
        assert_eq!(port_of(&pod, Some(&IntOrString::Int(7))), Some(7));
        assert_eq!(port_of(&pod, None), None);
    }
}
