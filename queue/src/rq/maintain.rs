//! Maintenance: one script for all queues puts right what crashes and time leave behind.

use chrono::{DateTime, Utc};

use super::RqQueue;
use super::lua::maintain::{AbandonedWebhooks, MaintainAnswer, MaintainArguments};
use super::text::{self, exc_string, parse_iso};
use super::webhook::End;
use crate::payload::decode;
use crate::{Maintenance, QueueError};

/// Registry entries one script call handles per queue, so that it never holds up the server for long.
const ENTRIES_PER_CALL: usize = 200;

/// Script calls in one go, when there is much to do; the rest is for the next second.
const CALLS: usize = 20;

/// Seconds between two cleanings of one queue's registries by all workers together.
const CLEAN_SECONDS: u64 = 10;

impl RqQueue {
    pub(super) async fn run_maintenance(&self) -> Result<Maintenance, QueueError> {
        let mut total = Maintenance::default();
        for _ in 0..CALLS {
            let now = Utc::now();
            let call = self.maintain_arguments(now).call(self.caller());
            let answer = MaintainAnswer::read(self.connection.invoke(&call).await?)?;
            for abandoned in answer.webhooks {
                self.post_abandoned(abandoned, now);
            }
            if answer.repeated_ids_wait > 0 {
                self.wakeup.ring();
            }
            total.reclaimed += answer.reclaimed;
            total.abandoned += answer.abandoned;
            total.due += answer.due;
            total.expired += answer.expired;
            if !answer.more {
                break;
            }
        }
        Ok(total)
    }

    fn post_abandoned(&self, abandoned: AbandonedWebhooks, now: DateTime<Utc>) {
        let AbandonedWebhooks { job, data, enqueued_at, webhooks } = abandoned;
        let func_name = decode(&data, &self.config.limits).map(|call| call.function).unwrap_or_default();
        let enqueued_at = parse_iso(&enqueued_at);
        let exc_info = Some(text::abandoned(now));
        self.webhooks.post(&webhooks, &End { job_id: job, func_name, enqueued_at, ended_at: now, exc_info });
    }

    fn maintain_arguments(&self, now: DateTime<Utc>) -> MaintainArguments<'_> {
        MaintainArguments {
            failure_ttl: self.config.failure_ttl.as_secs(),
            retry: self.config.retry,
            random: rand::random(),
            max_entries: ENTRIES_PER_CALL,
            clean_seconds: CLEAN_SECONDS,
            crashed_text: exc_string(&text::crashed(now)),
            abandoned_text: exc_string(&text::abandoned(now)),
            lease: self.lease_seconds(),
            queues: &self.config.names,
        }
    }
}
