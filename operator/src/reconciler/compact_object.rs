//! A JobQueue as it is kept from one reconcile to the next: packed. There may be thousands, each used once in minutes.

use std::{
    borrow::Cow,
    io::{Read, Write},
    sync::LazyLock,
};

use flate2::{Compress, Compression, Decompress, bufread::ZlibDecoder, write::ZlibEncoder};
use jobqueue_crds::{JobQueue, JobQueueStatus, ScalingMode};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Resource,
    core::{DeserializeGuard, error_boundary::InvalidObject},
};
use serde::{Deserialize, Deserializer};

use crate::{
    state::{health::Reachability, workers::Workers},
    status::conditions::{DecisionSummary, Facts, conditions},
};

/// A JobQueue, or what could not be read as one: a malformed object stops no queue but itself.
pub type GuardedJobQueue = DeserializeGuard<JobQueue>;

/// The copy of an object that `kubectl apply` leaves in its annotations.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A [`GuardedJobQueue`] as it comes from the watch, without what is not read here.
#[derive(Debug, Clone)]
pub(crate) struct CompactObject {
    /// What tells one object from another.
    metadata: ObjectMeta,
    object: PackedObject,
}

/// What is kept of a [`GuardedJobQueue`].
#[derive(Debug, Clone)]
pub(crate) enum PackedObject {
    /// The object's JSON, deflated (RFC 1951) with [`COMMON`]: some hundred bytes, of the six kilobytes that it takes as it
    /// is used.
    Packed(Box<[u8]>),
    /// What cannot be read, and why.
    Unreadable(Box<InvalidObject>),
}

impl CompactObject {
    /// Packs an object.
    pub(crate) fn pack(mut object: GuardedJobQueue) -> Self {
        // Who set which field is half of an object, and not used here.
        object.meta_mut().managed_fields = None;
        if let Some(annotations) = &mut object.meta_mut().annotations {
            annotations.remove(LAST_APPLIED);
        }
        let metadata = identity(object.meta());
        let object = match object.0 {
            Ok(queue) => PackedObject::Packed(compressed(&queue)),
            Err(unreadable) => PackedObject::Unreadable(unreadable.into()),
        };
        Self { metadata, object }
    }

    /// What tells it from others, and nothing that is in it.
    pub(crate) fn without_content(&self) -> Self {
        Self { metadata: identity(&self.metadata), object: PackedObject::Packed(Box::default()) }
    }
}

impl From<CompactObject> for PackedObject {
    fn from(compact: CompactObject) -> Self {
        compact.object
    }
}

impl PackedObject {
    /// The object as it was.
    pub(crate) fn unpack(&self) -> GuardedJobQueue {
        DeserializeGuard(match self {
            Self::Packed(bytes) => Ok(decompressed(bytes)),
            Self::Unreadable(unreadable) => {
                let InvalidObject { error, metadata } = &**unreadable;
                Err(InvalidObject { error: error.clone(), metadata: metadata.clone() })
            }
        })
    }
}

/// What the watch tells one object from another by.
fn identity(metadata: &ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, uid, resource_version, generation, .. } = metadata;
    ObjectMeta {
        name: name.clone(),
        namespace: namespace.clone(),
        uid: uid.clone(),
        resource_version: resource_version.clone(),
        generation: *generation,
        ..ObjectMeta::default()
    }
}

/// What objects have in common, for the packing to refer to: one of them, whose status says that all is well.
static COMMON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut queue = JobQueue::one_from_yaml(EXAMPLE, None).expect("a manifest");
    let facts = Facts {
        generation: 1,
        before: &[],
        mode: ScalingMode::Auto,
        stall: None,
        retry: None,
        queue: Reachability::Reachable,
        database: Reachability::Reachable,
        workers: Some(Workers { current: true, ..Workers::default() }),
        problem: None,
        scaling: Some(DecisionSummary { replicas: 0, wanted: 0, message: "nothing to do".into(), limit: None }),
        jobs: Some(0),
        warnings: Vec::new(),
        rollout_queued: false,
    };
    let conditions = conditions(&facts, Timestamp::now());
    queue.status = Some(JobQueueStatus { observed_generation: Some(1), conditions, ..JobQueueStatus::default() });
    serde_json::to_vec(&queue).expect("an object is JSON")
});

const EXAMPLE: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: queue, namespace: default}
spec:
  queue: {names: [queue], redis: {urlSecretKeyRef: {name: redis, key: url}}}
  database: {urlSecretKeyRef: {name: database, key: url}}
  ingest:
    - record: job.args[0]
      tables: [{table: table, columns: {name: record.name}}]
  scaling: {maxReplicas: 10, targets: {jobsPerWorker: 100}}
  worker: {image: "example.org/worker:1"}
"#;

fn compressed(queue: &JobQueue) -> Box<[u8]> {
    let json = serde_json::to_vec(queue).expect("what was read as JSON is written as JSON");
    let mut compress = Compress::new(Compression::default(), false);
    compress.set_dictionary(&COMMON).expect("nothing is compressed yet");
    let mut encoder = ZlibEncoder::new_with_compress(Vec::new(), compress);
    encoder.write_all(&json).and_then(|()| encoder.finish()).expect("memory takes what it is given").into()
}

fn decompressed(bytes: &[u8]) -> JobQueue {
    let mut decompress = Decompress::new(false);
    decompress.set_dictionary(&COMMON).expect("as it was packed");
    let mut json = Vec::new();
    ZlibDecoder::new_with_decompress(bytes, decompress).read_to_end(&mut json).expect("we packed it");
    serde_json::from_slice(&json).expect("we wrote it")
}

impl<'de> Deserialize<'de> for CompactObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        GuardedJobQueue::deserialize(deserializer).map(Self::pack)
    }
}

impl Resource for CompactObject {
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
    fn an_object_comes_out_as_it_was_but_for_what_is_not_read() {
        let spec = json!({
            "queue": {"names": ["q"], "redis": {"urlSecretKeyRef": {"name": "r", "key": "url"}}},
            "scaling": {"maxReplicas": 4, "targets": {"jobsPerWorker": 10}},
            "worker": {"image": "example.org/w:1", "template": {"spec": {"nodeSelector": {"a": "b"}}}},
        });
        let written = object(&spec);
        let mut plain: JobQueue = serde_json::from_value(written.clone()).expect("an object");
        let compact: CompactObject = serde_json::from_value(written).expect("an object");
        let opened = compact.object.unpack().0.expect("readable");
        plain.metadata.managed_fields = None;
        plain.metadata.annotations = Some([("note".to_owned(), "kept".to_owned())].into());
        assert_eq!(json_of(&opened), json_of(&plain));
        let identity = |meta: &ObjectMeta| [meta.name.clone(), meta.namespace.clone(), meta.uid.clone()];
        assert_eq!(identity(compact.meta()), identity(&plain.metadata));
        let PackedObject::Packed(bytes) = &compact.object else { panic!("packed") };
        let json = serde_json::to_vec(&plain).expect("JSON").len();
        assert!(bytes.len() * 3 < json * 2, "{} bytes of {json}", bytes.len());
    }

    #[test]
    fn what_objects_have_in_common_takes_hardly_any_room() {
        let spec = json!({
            "queue": {"names": ["orders"], "redis": {"urlSecretKeyRef": {"name": "warehouse", "key": "redis"}}},
            "worker": {"image": "example.org/w:1"},
        });
        let mut queue: JobQueue = serde_json::from_value(object(&spec)).expect("an object");
        let well: JobQueue = serde_json::from_slice(&COMMON).expect("an object");
        queue.status = well.status;
        let (json, packed) = (serde_json::to_vec(&queue).expect("JSON"), compressed(&queue));
        assert!(packed.len() * 8 < json.len(), "{} bytes of {}", packed.len(), json.len());
        assert_eq!(json_of(&decompressed(&packed)), json_of(&queue));
    }

    #[test]
    fn what_cannot_be_read_keeps_its_name_and_the_reason() {
        let compact: CompactObject = serde_json::from_value(object(&json!({"queue": 7}))).expect("guarded");
        let Err(invalid) = compact.object.unpack().0 else { panic!("a number is no queue") };
        assert!(invalid.error.contains("QueueSpec"), "{}", invalid.error);
        assert_eq!((invalid.metadata.name.as_deref(), invalid.metadata.generation), (Some("orders"), Some(3)));
        assert_eq!(invalid.metadata.managed_fields, None);
    }
}
