//! This worker's own record, and the renewal of its leases.

use super::{DEREGISTER, HEARTBEAT, REGISTER, RqQueue};
use crate::{Lease, QueueConfig, QueueError};

/// Leases per script call.
const LEASES_PER_CALL: usize = 200;

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

pub(crate) fn hostname() -> String {
    let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    std::env::var("HOSTNAME").ok().or_else(from_kernel).map_or_else(|| "unknown".into(), |name| name.trim().to_owned())
}

impl RqQueue {
    pub(super) async fn announce(&self) -> Result<(), QueueError> {
        let mut call = REGISTER
            .on(&self.route())
            .arg(self.keys.prefix())
            .arg(&self.config.worker_name)
            .arg(self.worker_ttl())
            .arg(self.record.len());
        self.push_record(&mut call);
        for name in &self.config.names {
            call.push(name);
        }
        self.connection.invoke(&call).await
    }

    pub(super) async fn withdraw(&self) -> Result<(), QueueError> {
        let mut call = DEREGISTER.on(&self.route()).arg(self.keys.prefix()).arg(&self.config.worker_name);
        for name in &self.config.names {
            call.push(name);
        }
        self.connection.invoke(&call).await
    }

    pub(super) async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        let chunks: Vec<&[Lease]> =
            if leases.is_empty() { vec![leases] } else { leases.chunks(LEASES_PER_CALL).collect() };
        let calls: Vec<_> = chunks.iter().map(|chunk| self.heartbeat_call(chunk)).collect();
        let mut lost = Vec::new();
        for (chunk, answer) in chunks.iter().zip(self.connection.invoke_all(&calls).await?) {
            let numbers: Vec<usize> = self.connection.read(answer?)?;
            lost.extend(numbers.into_iter().filter_map(|number| chunk.get(number)).cloned());
        }
        Ok(lost)
    }

    fn heartbeat_call(&self, leases: &[Lease]) -> crate::Invocation<'static> {
        let mut call = HEARTBEAT
            .on(&self.route())
            .arg(self.keys.prefix())
            .arg(&self.config.worker_name)
            .arg(self.worker_ttl())
            .arg(self.lease_seconds())
            .arg(self.record.len());
        self.push_record(&mut call);
        call.push(self.config.names.len());
        for name in &self.config.names {
            call.push(name);
        }
        for lease in leases {
            call.push(&lease.queue);
            call.push(&lease.job);
            call.push(&lease.execution);
        }
        call
    }

    fn push_record(&self, call: &mut crate::Invocation<'_>) {
        for (field, value) in &self.record {
            call.push(*field);
            call.push(value);
        }
    }
}
