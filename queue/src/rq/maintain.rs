//! Maintenance: one script for all queues puts right what crashes and time leave behind.

use chrono::Utc;

use super::text::{abandoned, crashed, exc_string};
use super::{MAINTAIN, RqQueue};
use crate::{Maintenance, QueueError};

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
            let (reclaimed, abandoned, due, expired, more): (u64, u64, u64, u64, u8) =
                self.connection.invoke(&self.maintain_call()).await?;
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

    fn maintain_call(&self) -> crate::Invocation<'static> {
        let now = Utc::now();
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
            .arg(self.gone.data.as_slice())
            .arg(&self.gone.text)
            .arg(exc_string(&crashed(now)))
            .arg(exc_string(&abandoned(now)));
        for name in &self.config.names {
            call.push(name);
        }
        call
    }
}
