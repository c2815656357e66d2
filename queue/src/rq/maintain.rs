//! Maintenance: one script for all queues puts right what crashes and time leave behind.

use chrono::{DateTime, Utc};

use super::text::{self, exc_string, parse_iso};
use super::webhook::End;
use super::{MAINTAIN, RqQueue};
use crate::payload::decode;
use crate::{Maintenance, QueueError};

/// Id, data, time of queueing and webhooks (JSON) of a job that was given up.
type Hooks = (String, Vec<u8>, String, String);

/// Registry entries one script call handles per queue, so that it never holds up the server for long.
const ENTRIES_PER_CALL: usize = 200;

/// Script calls in one go, when there is much to do; the rest is for the next second.
const CALLS: usize = 20;

/// Seconds between sweeps of one queue by all workers together, for what is not urgent.
const SWEEP_SECONDS: u64 = 10;

impl RqQueue {
    pub(super) async fn put_right(&self) -> Result<Maintenance, QueueError> {
        let mut total = Maintenance::default();
        for _ in 0..CALLS {
            let now = Utc::now();
            let (reclaimed, abandoned, due, expired, more, hooks, waits): (u64, u64, u64, u64, u8, Vec<Hooks>, u64) =
                self.connection.invoke(&self.maintain_call(now)).await?;
            for (job_id, data, enqueued_at, hooks) in hooks {
                let func_name = decode(&data, &self.config.limits).map(|call| call.function).unwrap_or_default();
                let enqueued_at = parse_iso(&enqueued_at);
                let end = End { job_id, func_name, enqueued_at, ended_at: now, exc_info: Some(text::abandoned(now)) };
                self.webhooks.post(&hooks, &end);
            }
            if waits > 0 {
                self.bell.ring();
            }
            total.reclaimed += reclaimed;
            total.abandoned += abandoned;
            total.due += due;
            total.expired += expired;
            if more == 0 {
                break;
            }
        }
        Ok(total)
    }

    fn maintain_call(&self, now: DateTime<Utc>) -> crate::Invocation<'static> {
        let retry = &self.config.retry;
        let mut call = MAINTAIN
            .on(&self.route())
            .arg(self.keys.prefix())
            .arg(&self.config.worker_name)
            .arg(self.config.failure_ttl.as_secs())
            .arg(retry.max_attempts)
            .arg(format!("{:.3}", retry.backoff.as_secs_f64()))
            .arg(format!("{:.3}", retry.max_backoff.as_secs_f64()))
            .arg(format!("{:.9}", rand::random::<f64>()))
            .arg(ENTRIES_PER_CALL)
            .arg(SWEEP_SECONDS)
            .arg(exc_string(&text::crashed(now)))
            .arg(exc_string(&text::abandoned(now)))
            .arg(self.lease_seconds());
        for name in &self.config.names {
            call.push(name);
        }
        call
    }
}
