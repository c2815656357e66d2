//! The strategic merge of a user's pod template over the operator's: maps merge, `null` removes, and lists of named things merge by the
//! key that the Kubernetes API documents for them. `$patch: delete` removes an element, `$patch: replace` a whole map.
//!
//! Source of the keys: the `patchMergeKey` of the Pod API's fields.

use serde_json::{Map, Value};

/// Which field tells the elements of a list apart; other lists are replaced as a whole.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// Merges `patch` into `target`.
pub(super) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        target.clone_from(patch);
        target.remove("$patch");
        return;
    }
    for (name, value) in patch {
        match (target.get_mut(name), value) {
            (_, Value::Null) => {
                target.remove(name);
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) => merge(ours, theirs),
            (Some(Value::Array(ours)), Value::Array(theirs)) if merge_key(name).is_some() => {
                merge_lists(ours, theirs, merge_key(name).expect("checked by the guard"));
            }
            _ => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_lists(ours: &mut Vec<Value>, theirs: &[Value], key: &str) {
    for element in theirs {
        let position = element.get(key).and_then(|id| ours.iter().position(|our| our.get(key) == Some(id)));
        let delete = element.get("$patch").and_then(Value::as_str) == Some("delete");
        match (position, element) {
            (Some(position), _) if delete => {
                ours.remove(position);
            }
            (None, _) if delete => {}
            (Some(position), Value::Object(patch)) => {
                if let Some(our) = ours[position].as_object_mut() {
                    merge(our, patch);
                }
            }
            _ => ours.push(element.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn merged(mut ours: Value, patch: &Value) -> Value {
        super::merge(ours.as_object_mut().unwrap(), patch.as_object().unwrap());
        ours
    }

    #[test]
    fn containers_merge_by_name_and_others_are_added() {
        let ours =
            json!({"spec": {"containers": [{"name": "worker", "image": "a", "env": [{"name": "A", "value": "1"}]}]}});
        let patch = json!({"spec": {"containers": [
            {"name": "worker", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]},
            {"name": "sidecar", "image": "b"}]}});
        let expected = json!({"spec": {"containers": [
            {"name": "worker", "image": "a", "env": [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}]},
            {"name": "sidecar", "image": "b"}]}});
        assert_eq!(merged(ours, &patch), expected);
    }

    #[test]
    fn null_and_directives_remove() {
        let ours = json!({"a": 1, "b": {"c": 2, "d": 3}, "volumes": [{"name": "x"}, {"name": "y"}]});
        let patch =
            json!({"a": null, "b": {"$patch": "replace", "e": 4}, "volumes": [{"name": "x", "$patch": "delete"}]});
        assert_eq!(merged(ours, &patch), json!({"b": {"e": 4}, "volumes": [{"name": "y"}]}));
    }

    #[test]
    fn lists_without_a_key_are_replaced() {
        assert_eq!(merged(json!({"args": ["a", "b"]}), &json!({"args": ["c"]})), json!({"args": ["c"]}));
    }
}
