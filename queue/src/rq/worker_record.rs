//! What this worker says about itself in its record.

use crate::QueueConfig;

/// The constant fields of this worker's hash. Readers insist on an integer `pid`; the versions are free text.
pub(super) fn record(config: &QueueConfig) -> Vec<(&'static str, String)> {
    vec![
        ("queues", config.names.join(",")),
        ("pid", std::process::id().to_string()),
        ("hostname", hostname()),
        ("ip_address", "unknown".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("python_version", "none (JobQueue worker)".into()),
        ("state", "idle".into()),
        ("successful_job_count", "0".into()),
        ("failed_job_count", "0".into()),
        ("total_working_time", "0".into()),
        ("jobqueue_concurrency", config.concurrency.to_string()),
    ]
}

/// The name of this host: in a cluster, of the pod.
pub(crate) fn hostname() -> String {
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    std::env::var("HOSTNAME").ok().or_else(from_kernel).map_or_else(|| "unknown".into(), |name| name.trim().to_owned())
}
