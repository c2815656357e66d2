//! Ownership objects are: an object of the name that one of a queue has, but of somebody else, is never written or deleted.

use std::fmt::Debug;

use jobqueue_crds::{JobQueue, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    kube_client::{FIELD_MANAGER, WriteError},
    reconciler::error::{Error, Refusal},
    state::{health::Stall, owned_objects::OwnedKind},
};

/// Ownership an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// The queue's.
    Ours,
    /// Of an earlier JobQueue of its name, which is gone: the garbage collector has not been there yet.
    Earlier,
    /// Somebody else's.
    Others,
}

fn whose(queue: &JobQueue, object: &ObjectMeta) -> Ownership {
    let owners = object.owner_references.iter().flatten();
    let mut queues = owners.filter(|owner| owner.kind == JobQueue::kind(&()) && owner.name == queue.name_any());
    match queues.next() {
        Some(owner) if Some(&owner.uid) == queue.metadata.uid.as_ref() => Ownership::Ours,
        Some(_) => Ownership::Earlier,
        None => Ownership::Others,
    }
}

/// Checks that a Deployment is the queue's.
pub(super) fn check(queue: &JobQueue, deployment: &ObjectMeta) -> Result<(), Refusal> {
    let name = deployment.name.as_deref().unwrap_or_default();
    match whose(queue, deployment) {
        Ownership::Ours => Ok(()),
        Ownership::Earlier => Err(Error::Leftover(name.into()).into()),
        Ownership::Others => Err(taken("Deployment", name)),
    }
}

fn taken(kind: &str, name: &str) -> Refusal {
    Refusal::Stalled(Stall {
        reason: Reason::NameTaken,
        message: format!(
            "{kind} {name} exists and does not belong to this JobQueue: rename one of them, or delete the {kind}"
        ),
    })
}

/// The objects of one kind in the queue's namespace.
pub(super) struct Owned<'a, K> {
    /// The queue that they are to belong to.
    pub(super) queue: &'a JobQueue,
    /// Their kind.
    pub(super) kind: OwnedKind,
    /// Where they are.
    pub(super) api: Api<K>,
}

impl<K> Owned<'_, K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    /// Applies an object, which may be `known` to be the queue's.
    pub(super) async fn put_or_make(&self, object: &K, known: bool) -> Result<(), Refusal> {
        if known { self.put(object).await } else { self.make(object).await }
    }

    /// Makes an object, or applies it if there is one of the queue's already. It costs one request if there is none. What is
    /// made so keeps a field that a later apply leaves out.
    async fn make(&self, object: &K) -> Result<(), Refusal> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match self.api.create(&parameters, object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => self.look_and_put(object).await,
            Err(error) => Err(self.failed(&object.name_any(), error)),
        }
    }

    /// Applies an object, unless there is one of somebody else.
    pub(super) async fn look_and_put(&self, object: &K) -> Result<(), Refusal> {
        let name = object.name_any();
        let present = self.api.get_metadata_opt(&name).await.map_err(|error| self.failed(&name, error))?;
        match present.map(|present| (whose(self.queue, &present.metadata), present.metadata)) {
            None | Some((Ownership::Ours, _)) => {}
            Some((Ownership::Earlier, metadata)) => self.delete(&name, metadata).await?,
            Some((Ownership::Others, _)) => return Err(taken(self.kind.name(), &name)),
        }
        self.put(object).await
    }

    /// Applies an object that is the queue's.
    pub(super) async fn put(&self, object: &K) -> Result<(), Refusal> {
        let name = object.name_any();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self.api.patch(&name, &parameters, &Patch::Apply(object)).await;
        applied.map(drop).map_err(|error| self.failed(&name, error))
    }

    /// Deletes an object if it is the queue's.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let present = self.api.get_metadata_opt(name).await.map_err(|error| self.failed(name, error))?;
        match present.filter(|present| whose(self.queue, &present.metadata) == Ownership::Ours) {
            Some(ours) => self.delete(name, ours.metadata).await,
            None => Ok(()),
        }
    }

    /// Deletes this object, and not another one that has its name by now.
    async fn delete(&self, name: &str, object: ObjectMeta) -> Result<(), Refusal> {
        let only_this = Preconditions { uid: object.uid, resource_version: None };
        match self.api.delete(name, &DeleteParams::background().preconditions(only_this)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    fn failed(&self, name: &str, source: kube::Error) -> Refusal {
        refusal(WriteError { kind: self.kind.name(), name: name.into(), source: Box::new(source) })
    }
}

/// What a write that failed means: a person must act if the API server said no, else it is tried again.
pub(super) fn refusal(error: WriteError) -> Refusal {
    if error.is_refused() {
        return Refusal::Stalled(Stall { reason: Reason::WorkersForbidden, message: error.to_string() });
    }
    Error::from(error).into()
}
