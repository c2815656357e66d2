//! The NetworkPolicy: what may reach the workers and what they may reach, if `spec.worker.networkPolicy` asks for it.

use jobqueue_crds::{JobQueue, WorkerNetworkPolicy};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{BuildError, BuildInput, deployment::PORT};
use crate::names::selector_labels;

pub(super) fn network_policy(input: &BuildInput<'_>) -> Result<Option<NetworkPolicy>, BuildError> {
    let Some(wanted) = &input.queue.spec.worker.network_policy else { return Ok(None) };
    let egress = wanted.egress.as_deref().map(|rules| parsed("egress", rules)).transpose()?;
    let types =
        if egress.is_some() { vec!["Ingress".to_owned(), "Egress".to_owned()] } else { vec!["Ingress".to_owned()] };
    Ok(Some(NetworkPolicy {
        metadata: super::metadata(input.queue),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector_labels(input.queue)),
                ..LabelSelector::default()
            }),
            policy_types: Some(types),
            ingress: Some(ingress(input.queue, wanted)?),
            egress: egress.map(|rules: Vec<NetworkPolicyEgressRule>| rules.into_iter().chain([dns(input)]).collect()),
        }),
    }))
}

/// The project's worker has one port; what another image listens on is not known.
fn ingress(queue: &JobQueue, wanted: &WorkerNetworkPolicy) -> Result<Vec<NetworkPolicyIngressRule>, BuildError> {
    if queue.spec.ingest.is_none() {
        return Ok(Vec::new());
    }
    let from = wanted.metrics_from.as_deref().map(|peers| parsed("metricsFrom", peers)).transpose()?;
    Ok(vec![NetworkPolicyIngressRule { from, ports: Some(vec![port("TCP", PORT)]) }])
}

/// Without DNS no server is found. A policy sees the port of the DNS server's pod, which may be another than its Service's.
fn dns(input: &BuildInput<'_>) -> NetworkPolicyEgressRule {
    let ports = input.workers.dns_ports.iter().map(|number| i32::from(*number));
    let ports = ports.flat_map(|number| [port("UDP", number), port("TCP", number)]).collect();
    NetworkPolicyEgressRule { to: None, ports: Some(ports) }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.into()), port: Some(IntOrString::Int(number)), end_port: None }
}

fn parsed<T: DeserializeOwned>(field: &str, rules: &[Map<String, Value>]) -> Result<Vec<T>, BuildError> {
    let parse = |(index, rule): (usize, &Map<String, Value>)| {
        serde_json::from_value(Value::Object(rule.clone()))
            .map_err(|error| BuildError::NetworkPolicy(format!("{field}[{index}]: {error}")))
    };
    rules.iter().enumerate().map(parse).collect()
}
