//! The worker's config file: the manifest's own shape without URLs, certificates and scaling.

use serde::{Deserialize, Serialize};

use crate::{DatabaseSettings, IngestSpec, QueueSettings, RetrySpec, WorkerSettings};

/// The version of the config file that this release writes and reads. A field that an older worker may pass over does not
/// raise it, nor is it raised without need: a worker refuses a file of a newer version. Defaults belong to a version.
pub const CONFIG_VERSION: u32 = 1;

/// A file of this shape; everything but `queue.names` and `ingest` has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerConfig {
    /// What logs call this queue; the manifest's name.
    #[serde(default = "WorkerConfig::default_name")]
    pub name: String,
    /// The backlog.
    pub queue: QueueSettings,
    /// The recipes. A worker needs one; a manifest whose workers are of another make has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingest: Vec<IngestSpec>,
    /// What happens to a job that fails.
    #[serde(default)]
    pub retry: RetrySpec,
    /// What this worker does at once.
    #[serde(default)]
    pub worker: WorkerSettings,
    /// How the database is used; `None` where the manifest has none, which means the same as the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSettings>,
}

impl WorkerConfig {
    /// What a queue without a name is called.
    pub fn default_name() -> String {
        "jobqueue".into()
    }

    /// The oldest version of the file that says all of this. Only what a config uses counts, so that a new version concerns
    /// nobody else.
    pub fn version(&self) -> u32 {
        1
    }

    /// How the database is used.
    pub fn database(&self) -> DatabaseSettings {
        self.database.clone().unwrap_or_default()
    }

    /// Writes at once: no more than there may be connections.
    pub fn concurrency(&self) -> u32 {
        let most = self.database.as_ref().and_then(|database| database.max_connections);
        most.map_or(self.worker.concurrency, |most| most.min(self.worker.concurrency))
    }
}
