//! Which objects of queues there are beside their Deployments, as their watches have it: a digest of each, so that thousands
//! of queues take little memory.

use std::collections::HashSet;

use kube::{Resource, ResourceExt, core::PartialObjectMeta, runtime::watcher::Event};

use crate::{
    digest::fingerprint,
    state::key::{self, Key, Uid},
};

/// A kind of object that a queue has beside its Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnedKind {
    /// The worker's config.
    ConfigMap,
    /// What a node drain may take.
    PodDisruptionBudget,
    /// Who may reach the workers.
    NetworkPolicy,
}

impl OwnedKind {
    /// As it is written in manifests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }
}

/// One object of one queue, by its namespace, its name and the queue that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnedObject {
    /// Its kind.
    pub(crate) kind: OwnedKind,
    digest: u64,
}

impl OwnedObject {
    /// An object of this name, of the queue with this uid.
    pub(crate) fn new(kind: OwnedKind, namespace: &str, name: &str, owner: &Uid) -> Self {
        Self { kind, digest: fingerprint((namespace, name, owner)) }
    }

    /// The object that a watch shows, and the queue that owns it; `None` if it is no queue's.
    fn seen<K>(kind: OwnedKind, object: &PartialObjectMeta<K>) -> Option<(Self, Key)>
    where
        PartialObjectMeta<K>: Resource,
    {
        let (key, owner) = key::owner(object.meta())?;
        let namespace = object.namespace().unwrap_or_default();
        Some((Self::new(kind, &namespace, &object.name_any(), &Uid::from(owner.uid.as_str())), key))
    }
}

/// What a watch told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OwnedNews {
    /// Nothing is missing that was there before.
    None,
    /// An object of this queue was deleted.
    Deleted(Key),
    /// All objects were listed, and any may have been deleted before.
    Listed,
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct OfKind {
    present: HashSet<u64, foldhash::fast::RandomState>,
    /// Those of a list that is not complete yet; `None` while none is under way.
    listing: Option<HashSet<u64, foldhash::fast::RandomState>>,
    /// They were all listed once.
    is_known: bool,
}

/// The objects of all queues.
#[derive(Debug, Default)]
pub(super) struct OwnedObjects([OfKind; 3]);

impl OwnedObjects {
    /// Takes in an event of the watch of one kind.
    pub(super) fn observe<K>(&mut self, kind: OwnedKind, event: &Event<PartialObjectMeta<K>>) -> OwnedNews
    where
        PartialObjectMeta<K>: Resource,
    {
        let seen = |object| OwnedObject::seen(kind, object);
        let of_kind = &mut self.0[kind as usize];
        match event {
            Event::Init => of_kind.listing = Some(HashSet::default()),
            Event::InitApply(object) => {
                let listing = of_kind.listing.get_or_insert_default();
                listing.extend(seen(object).map(|(object, _)| object.digest));
            }
            Event::InitDone => {
                of_kind.present = of_kind.listing.take().unwrap_or_default();
                of_kind.present.shrink_to_fit();
                of_kind.is_known = true;
                return OwnedNews::Listed;
            }
            Event::Apply(object) => of_kind.present.extend(seen(object).map(|(object, _)| object.digest)),
            Event::Delete(object) => {
                if let Some((object, queue)) = seen(object)
                    && of_kind.present.remove(&object.digest)
                {
                    return OwnedNews::Deleted(queue);
                }
            }
        }
        OwnedNews::None
    }

    /// The objects were applied, and the watch will tell of them.
    pub(super) fn record_applied(&mut self, objects: &[OwnedObject]) {
        for object in objects {
            self.0[object.kind as usize].present.insert(object.digest);
        }
    }

    /// Whether an object is known to be there, and to be the queue's.
    pub(super) fn has(&self, object: OwnedObject) -> bool {
        self.0[object.kind as usize].present.contains(&object.digest)
    }

    /// Whether one of the objects is known not to be there.
    pub(super) fn lacks_any(&self, objects: &[OwnedObject]) -> bool {
        objects.iter().any(|object| self.0[object.kind as usize].is_known && !self.has(*object))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn config(name: &str, owner: &str) -> PartialObjectMeta<ConfigMap> {
        let owner = json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "name": "q", "uid": owner,
            "controller": true});
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n", "ownerReferences": [owner]}}))
            .expect("metadata")
    }

    #[test]
    fn what_is_deleted_or_missing_in_a_new_list_is_known_to_be_gone() {
        let kind = OwnedKind::ConfigMap;
        let [a, b] = ["a", "b"].map(|name| OwnedObject::new(kind, "n", name, &Uid::from("u")));
        let mut objects = OwnedObjects::default();
        assert!(!objects.lacks_any(&[a]), "not listed yet");
        let list =
            [Event::Init, Event::InitApply(config("a", "u")), Event::InitApply(config("b", "other")), Event::InitDone];
        let news = list.map(|event| objects.observe(kind, &event));
        assert_eq!(news[3], OwnedNews::Listed);
        assert!(objects.has(a) && !objects.has(b), "the second is of another queue");
        objects.record_applied(&[b]);
        assert!(!objects.lacks_any(&[a, b]));
        let queue = Key::new("q").within("n");
        assert_eq!(objects.observe(kind, &Event::Delete(config("b", "u"))), OwnedNews::Deleted(queue));
        assert!(objects.lacks_any(&[a, b]) && !objects.lacks_any(&[a]));
        for event in [Event::<PartialObjectMeta<ConfigMap>>::Init, Event::InitDone] {
            objects.observe(kind, &event);
        }
        assert!(objects.lacks_any(&[a]), "deleted while nobody watched");
    }

    #[test]
    fn ten_thousand_queues_take_less_than_a_megabyte() {
        let mut objects = OwnedObjects::default();
        for kind in [OwnedKind::ConfigMap, OwnedKind::PodDisruptionBudget, OwnedKind::NetworkPolicy] {
            for number in 0..10_000 {
                objects.record_applied(&[OwnedObject::new(kind, "n", &format!("q{number}-worker"), &Uid::default())]);
            }
        }
        let places: usize = objects.0.iter().map(|of_kind| of_kind.present.capacity()).sum();
        // Nine bytes a place, and a seventh of the places stay empty.
        assert!(places * 9 * 8 / 7 < 1 << 20, "{places} places");
    }
}
