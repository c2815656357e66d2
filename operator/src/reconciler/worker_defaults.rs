//! What is the same for the workers of all queues of a cluster: their image, the platform's demands, and a pod template that
//! goes under that of each queue.

use jobqueue_crds::JobQueue;
use serde_json::{Map, Value, json};

use crate::reconciler::build::{BuildInput, Rendition, build};

/// The port of DNS.
pub const DNS_PORT: u16 = 53;

/// What a cluster sets for all workers; a JobQueue's own `spec.worker` wins.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerDefaults {
    /// The image of workers whose JobQueue names none.
    pub image: String,
    /// The platform sets the user of pods: `runAsUser` and `runAsGroup` are left out.
    pub platform_user: bool,
    /// Where DNS servers listen, for the `NetworkPolicies` that name what workers may reach.
    pub dns_ports: Vec<u16>,
    template: Map<String, Value>,
}

/// A pod template for all workers that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template of all workers: {0}")]
pub struct UnusableTemplate(String);

impl WorkerDefaults {
    /// An image, and nothing else.
    pub fn new(image: impl Into<String>) -> Self {
        Self { image: image.into(), platform_user: false, dns_ports: vec![DNS_PORT], template: Map::new() }
    }

    /// The same with a pod template, as JSON, that is merged like `spec.worker.template`; empty: none.
    pub fn with_template(mut self, text: &str) -> Result<Self, UnusableTemplate> {
        if text.trim().is_empty() {
            return Ok(self);
        }
        self.template =
            serde_json::from_str(text).map_err(|error| UnusableTemplate(format!("not a JSON object: {error}")))?;
        self.check()?;
        Ok(self)
    }

    /// What is merged into the pods of every queue.
    pub(crate) fn template(&self) -> &Map<String, Value> {
        &self.template
    }

    /// Builds a queue's objects with it: a mistake must be seen at the start, not in every queue.
    fn check(&self) -> Result<(), UnusableTemplate> {
        let drain = "/spec/terminationGracePeriodSeconds";
        let patch = Value::Object(self.template.clone());
        if patch.pointer(drain).is_some() {
            let why = "terminationGracePeriodSeconds follows drainSeconds of each queue, and cannot be set for all";
            return Err(UnusableTemplate(why.into()));
        }
        let queue = sample();
        let rendition = Rendition::Present;
        let input = BuildInput {
            queue: &queue,
            workers: self,
            secret_mark: "",
            secret_version: "",
            replicas: 0,
            room: None,
            rendition,
        };
        let built = build(&input).map_err(|error| UnusableTemplate(error.to_string()))?;
        let made = serde_json::to_value(built.deployment.spec.template).expect("a pod template serialises");
        for at in ["", "/metadata", "/spec"] {
            let fields = patch.pointer(at).and_then(Value::as_object).into_iter().flatten();
            let unknown = |(name, value): &(&String, &Value)| {
                let is_empty = value.is_null() || **value == json!({}) || **value == json!([]);
                !is_empty
                    && !name.starts_with('$')
                    && made.pointer(at).is_none_or(|made| made.get(name.as_str()).is_none())
            };
            if let Some((name, _)) = fields.into_iter().find(unknown) {
                return Err(UnusableTemplate(format!("a pod template has no field {at}/{name}")));
            }
        }
        Ok(())
    }
}

fn sample() -> JobQueue {
    serde_json::from_value(json!({
        "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": "sample", "namespace": "default", "uid": "sample"},
        "spec": {"queue": {"names": ["sample"], "redis": {"url": "redis://redis"}}},
    }))
    .expect("a JobQueue")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(template: &str) -> String {
        WorkerDefaults::new("worker:1").with_template(template).unwrap_err().to_string()
    }

    #[test]
    fn a_template_that_fits_no_pod_is_refused_at_the_start() {
        assert!(WorkerDefaults::new("worker:1").with_template("").is_ok());
        let good = r#"{"metadata": {"labels": {"team": "data"}}, "spec": {"tolerations": [], "nodeSelector": {"disk": "fast"}}}"#;
        assert!(WorkerDefaults::new("worker:1").with_template(good).is_ok());
        assert!(refused("[]").contains("not a JSON object"));
        assert!(refused(r#"{"spec": {"tolerations": 5}}"#).contains("valid pod template"));
        assert!(refused(r#"{"spec": {"tolerationz": [{"key": "a"}]}}"#).ends_with("no field /spec/tolerationz"));
        assert!(refused(r#"{"nodeSelector": {"disk": "fast"}}"#).ends_with("no field /nodeSelector"));
        assert!(refused(r#"{"spec": {"terminationGracePeriodSeconds": 5}}"#).contains("drainSeconds"));
    }
}
