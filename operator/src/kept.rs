//! A JobQueue as it is kept from one visit to the next: packed. There may be thousands, each looked at once in minutes.

use std::{borrow::Cow, io::Read, io::Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jobqueue_crds::JobQueue;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{DeserializeGuard, error_boundary::InvalidObject},
};
use serde::{Deserialize, Deserializer};

/// A JobQueue, or what could not be read as one: a malformed object stops nobody but itself.
pub type Guarded = DeserializeGuard<JobQueue>;

/// The copy of an object that `kubectl apply` leaves in its annotations.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A [`Guarded`], without what nobody here reads.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What tells one object from another; all of it where there is nothing else.
    metadata: ObjectMeta,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// The object's JSON, deflated (RFC 1951): half a kilobyte or so, a tenth of what it takes as it is used.
    Packed(Box<[u8]>),
    /// Why it cannot be read.
    Unreadable(Box<str>),
}

impl Kept {
    /// Packs an object.
    pub fn of(mut object: Guarded) -> Self {
        // Who set which field is half of an object, and nothing to us.
        object.meta_mut().managed_fields = None;
        if let Some(annotations) = &mut object.meta_mut().annotations {
            annotations.remove(LAST_APPLIED);
        }
        match object.0 {
            Ok(queue) => Self { metadata: identity(&queue.metadata), content: Content::Packed(packed(&queue)) },
            Err(InvalidObject { error, metadata }) => Self { metadata, content: Content::Unreadable(error.into()) },
        }
    }

    /// The object as it was.
    pub fn open(&self) -> Guarded {
        DeserializeGuard(match &self.content {
            Content::Packed(bytes) => Ok(unpacked(bytes)),
            Content::Unreadable(error) => {
                Err(InvalidObject { error: error.to_string(), metadata: self.metadata.clone() })
            }
        })
    }
}

fn identity(metadata: &ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, uid, resource_version, .. } = metadata.clone();
    ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
}

fn packed(queue: &JobQueue) -> Box<[u8]> {
    let json = serde_json::to_vec(queue).expect("what was read as JSON is written as JSON");
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&json).and_then(|()| encoder.finish()).expect("memory takes what it is given").into()
}

fn unpacked(bytes: &[u8]) -> JobQueue {
    let mut json = Vec::new();
    DeflateDecoder::new(bytes).read_to_end(&mut json).expect("we packed it");
    serde_json::from_slice(&json).expect("we wrote it")
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Guarded::deserialize(deserializer).map(Self::of)
    }
}

impl Resource for Kept {
    type DynamicType = ();
    type Scope = <JobQueue as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        JobQueue::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        JobQueue::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        JobQueue::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        JobQueue::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: &Value) -> Value {
        json!({
            "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
            "metadata": {
                "name": "orders", "namespace": "shop", "uid": "u-1", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"team": "a"},
                "annotations": {"note": "kept", LAST_APPLIED: "{}"},
                "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
            },
            "spec": spec,
            "status": {"observedGeneration": 3, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "ünï \"quoted\"",
                "lastTransitionTime": "2026-01-02T03:04:06Z", "observedGeneration": 3,
            }]},
        })
    }

    fn json_of(queue: &JobQueue) -> Value {
        serde_json::to_value(queue).expect("an object")
    }

    #[test]
    fn an_object_comes_out_as_it_was_but_for_what_nobody_reads() {
        let spec = json!({
            "queue": {"names": ["q"], "redis": {"urlSecretKeyRef": {"name": "r", "key": "url"}}},
            "scaling": {"maxReplicas": 4, "targets": {"jobsPerWorker": 10}},
            "worker": {"image": "example.org/w:1", "template": {"spec": {"nodeSelector": {"a": "b"}}}},
        });
        let written = object(&spec);
        let mut plain: JobQueue = serde_json::from_value(written.clone()).expect("an object");
        let kept: Kept = serde_json::from_value(written).expect("an object");
        let opened = kept.open().0.expect("readable");
        plain.metadata.managed_fields = None;
        plain.metadata.annotations = Some([("note".to_owned(), "kept".to_owned())].into());
        assert_eq!(json_of(&opened), json_of(&plain));
        let identity = |meta: &ObjectMeta| [meta.name.clone(), meta.namespace.clone(), meta.uid.clone()];
        assert_eq!(identity(kept.meta()), identity(&plain.metadata));
        let Content::Packed(bytes) = &kept.content else { panic!("packed") };
        let json = serde_json::to_vec(&plain).expect("JSON").len();
        assert!(bytes.len() * 3 < json * 2, "{} bytes of {json}", bytes.len());
    }

    #[test]
    fn what_cannot_be_read_keeps_its_name_and_the_reason() {
        let kept: Kept = serde_json::from_value(object(&json!({"queue": 7}))).expect("guarded");
        let Err(invalid) = kept.open().0 else { panic!("a number is no queue") };
        assert!(invalid.error.contains("QueueSpec"), "{}", invalid.error);
        assert_eq!((invalid.metadata.name.as_deref(), invalid.metadata.generation), (Some("orders"), Some(3)));
        assert_eq!(invalid.metadata.managed_fields, None);
    }
}
