//! The worker's config file, as a ConfigMap.

use std::collections::BTreeMap;

use jobqueue_crds::{JobQueue, worker_config, worker_file, worker_file_in_full, worker_file_of_first};
use k8s_openapi::api::core::v1::ConfigMap;

use super::{BuildInput, Rendition};
use crate::digest::digest;

/// The file's name in the ConfigMap.
pub(super) const FILE: &str = "worker.yaml";

pub(super) fn config_map(input: &BuildInput<'_>) -> ConfigMap {
    let config = worker_config(input.queue);
    let mut metadata = super::metadata(input.queue);
    let data = |text| Some(BTreeMap::from([(FILE.to_owned(), text)]));
    match input.rendition {
        Rendition::First => ConfigMap { metadata, data: data(worker_file_of_first(&config)), ..ConfigMap::default() },
        Rendition::Second => ConfigMap { metadata, data: data(worker_file_in_full(&config)), ..ConfigMap::default() },
        Rendition::Present => {
            let mut config_map = ConfigMap { data: data(worker_file(&config)), ..ConfigMap::default() };
            metadata.name = Some(format!("{}-{}", super::object_name(input.queue), hash(&config_map)));
            config_map.metadata = metadata;
            config_map.immutable = Some(true);
            config_map
        }
    }
}

/// The version of the config file.
pub(super) fn version(queue: &JobQueue) -> String {
    worker_config(queue).version().to_string()
}

pub(super) fn hash(config_map: &ConfigMap) -> String {
    let data = config_map.data.iter().flatten();
    digest(data.flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()])).to_string()
}
