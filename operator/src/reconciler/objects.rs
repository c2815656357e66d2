//! The JobQueues as their watch has them, packed.

use std::{collections::HashMap, sync::Arc};

use kube::{Resource, runtime::watcher::Event};

use crate::{
    reconciler::compact_object::{CompactObject, PackedObject},
    state::key::{self, Key},
};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Objects {
    by_key: HashMap<Arc<Key>, Listed, foldhash::fast::RandomState>,
    /// The list that is being read, or was read last.
    list: u32,
    /// They were all listed once.
    is_complete: bool,
}

/// One object, and the last list that had it.
#[derive(Debug)]
struct Listed {
    list: u32,
    generation: Option<i64>,
    object: PackedObject,
}

/// An event of the watch that a queue is to be reconciled for.
#[derive(Debug)]
pub(super) struct Observed {
    /// The queue.
    pub(super) key: Arc<Key>,
    /// Its `metadata.generation` is another than before: a person changed what is wanted.
    pub(super) is_changed: bool,
}

impl Objects {
    /// Takes in an event of the watch; returns the queue that it is about, unless it is gone. `shared` returns the one key of a queue
    /// that all tables have.
    pub(super) fn observe(
        &mut self,
        event: Event<CompactObject>,
        shared: impl FnOnce(Key) -> Arc<Key>,
    ) -> Option<Observed> {
        match event {
            Event::Init => {
                self.list = self.list.wrapping_add(1);
                None
            }
            Event::InitDone => {
                // What is not in the new list was deleted meanwhile.
                let list = self.list;
                self.by_key.retain(|_, object| object.list == list);
                self.is_complete = true;
                None
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key::of(&object);
                let known = self.by_key.get_key_value(&key).map(|(key, _)| key.clone());
                let key = known.unwrap_or_else(|| shared(key));
                let generation = object.meta().generation;
                let listed = Listed { list: self.list, generation, object: object.into() };
                let before = self.by_key.insert(key.clone(), listed);
                let is_changed = before.is_some_and(|before| before.generation != generation);
                Some(Observed { key, is_changed })
            }
            Event::Delete(object) => {
                self.by_key.remove(&key::of(&object));
                None
            }
        }
    }

    /// Whether the first list is complete: what is not in it was deleted while no operator watched.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether there is such a queue.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    /// The object; `None` if it was deleted.
    pub(super) fn get(&self, key: &Key) -> Option<&PackedObject> {
        self.by_key.get(key).map(|listed| &listed.object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, generation: i64) -> CompactObject {
        let metadata = json!({"name": name, "namespace": "shop", "generation": generation});
        serde_json::from_value(json!({"metadata": metadata, "spec": 7})).expect("guarded")
    }

    fn key(name: &str) -> Key {
        Key::new(name).within("shop")
    }

    #[test]
    fn what_a_new_list_does_not_have_is_gone_and_not_before_the_list_is_complete() {
        let mut objects = Objects::default();
        let tell = |objects: &mut Objects, event| objects.observe(event, Arc::new).map(|told| told.key.name.clone());
        assert_eq!(tell(&mut objects, Event::Init), None);
        assert_eq!(tell(&mut objects, Event::InitApply(object("a", 1))).as_deref(), Some("a"));
        assert_eq!(tell(&mut objects, Event::InitApply(object("b", 1))).as_deref(), Some("b"));
        assert!(!objects.is_complete(), "a third may come");
        assert_eq!(tell(&mut objects, Event::InitDone), None);
        assert!(objects.is_complete());
        tell(&mut objects, Event::Apply(object("c", 1)));
        tell(&mut objects, Event::Delete(object("a", 1)));
        assert!(!objects.has(&key("a")));
        tell(&mut objects, Event::Init);
        assert_eq!(tell(&mut objects, Event::InitApply(object("b", 2))).as_deref(), Some("b"));
        assert!(objects.has(&key("c")), "until it is complete");
        tell(&mut objects, Event::InitDone);
        assert!(objects.has(&key("b")) && !objects.has(&key("c")));
        let generation = objects.get(&key("b")).map(|object| object.unpack().meta().generation);
        assert_eq!(generation, Some(Some(2)));
        let is_changed = [2, 3].map(|generation| {
            let told = objects.observe(Event::Apply(object("b", generation)), Arc::new).expect("it is there");
            told.is_changed
        });
        assert_eq!(is_changed, [false, true], "a status alone is no change");
    }
}
