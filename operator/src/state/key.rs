//! What tells one queue from another, and one object from an earlier one of the same name.

use jobqueue_crds::JobQueue;
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

/// Namespace and name of a JobQueue.
pub type Key = ObjectRef<JobQueue>;

/// `metadata.uid`. There may be thousands, and an API server makes UUIDs: these are kept as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Uid {
    /// A UUID in its usual form.
    Uuid([u8; 16]),
    /// Anything else.
    Text(Box<str>),
}

impl Default for Uid {
    fn default() -> Self {
        Self::Text(Box::default())
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        // Only what is given back as it was.
        parse(text).map(Self::Uuid).filter(|uid| uid.to_text() == text).unwrap_or_else(|| Self::Text(text.into()))
    }
}

impl Uid {
    /// The uid of this object.
    pub(crate) fn of(queue: &JobQueue) -> Self {
        queue.metadata.uid.as_deref().unwrap_or_default().into()
    }

    fn to_text(&self) -> String {
        match self {
            Self::Uuid(bytes) => {
                let digits = format!("{:032x}", u128::from_be_bytes(*bytes));
                [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
            }
            Self::Text(text) => text.to_string(),
        }
    }
}

/// The 32 hexadecimal digits of a UUID; `None` if there are more or fewer.
fn parse(text: &str) -> Option<[u8; 16]> {
    let digits = text.replace('-', "");
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// `metadata.resourceVersion`; `None` if it is not a number.
pub(crate) fn version(queue: &JobQueue) -> Option<u64> {
    queue.metadata.resource_version.as_deref()?.parse().ok()
}

/// The key of a JobQueue, in whatever form.
pub(crate) fn of(queue: &impl Resource) -> Key {
    Key::new(&queue.name_any()).within(queue.meta().namespace.as_deref().unwrap_or_default())
}

/// The JobQueue that an object belongs to, and the reference that says so; `None` if it is no queue's.
pub(crate) fn owner(object: &ObjectMeta) -> Option<(Key, &OwnerReference)> {
    let mut owners = object.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == JobQueue::kind(&()) && owner.controller == Some(true))?;
    Some((Key::new(&owner.name).within(object.namespace.as_deref().unwrap_or_default()), owner))
}

/// What an event is about: the object with this uid, as of this version. `kubectl describe` lists no event without the uid.
pub(crate) fn reference(key: &Key, uid: &Uid, version: Option<u64>) -> ObjectReference {
    ObjectReference {
        api_version: Some(JobQueue::api_version(&()).into()),
        kind: Some(JobQueue::kind(&()).into()),
        name: Some(key.name.clone()),
        namespace: key.namespace.clone(),
        resource_version: version.map(|version| version.to_string()),
        uid: Some(uid.to_text()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_comes_out_as_it_was() {
        for text in [
            "0b9c2f5e-7d5a-4a6c-9d5e-0123456789ab",
            "00000000-0000-0000-0000-000000000000",
            "0B9C2F5E-7D5A-4A6C-9D5E-0123456789AB",
            "0b9c2f5e7d5a4a6c9d5e0123456789ab",
            "+b9c2f5e-7d5a-4a6c-9d5e-0123456789ab",
            "u1",
            "ü",
            "",
        ] {
            assert_eq!(Uid::from(text).to_text(), text);
        }
        let is_number = |text| matches!(Uid::from(text), Uid::Uuid(_));
        assert!(is_number("0b9c2f5e-7d5a-4a6c-9d5e-0123456789ab") && !is_number("u1"));
        assert!(size_of::<Uid>() <= 24);
    }

    #[test]
    fn a_reference_names_the_object_and_not_only_its_name() {
        let key = Key::new("orders").within("shop");
        let reference = reference(&key, &"u1".into(), Some(7));
        let json = serde_json::to_value(reference).expect("an object");
        let wanted = serde_json::json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "name": "orders",
            "namespace": "shop", "resourceVersion": "7", "uid": "u1"});
        assert_eq!(json, wanted);
    }
}
