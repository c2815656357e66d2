//! Settling: outcomes are recorded a few dozen per script call, all calls in one pipeline.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};

use super::RqQueue;
use super::lua::settle::{EndedRun, Notice, SettleAnswer, SettleArguments};
use super::text::{STOPPED, epoch, exc_string, iso, return_value};
use super::webhook::End;
use crate::{Completion, Outcome, Payload, QueueError, Retry, Serializer, Settled};

/// Jobs per script call: enough to spread the call's own cost, few enough that other clients of the server wait a
/// millisecond or two at most.
const JOBS_PER_CALL: usize = 50;

impl RqQueue {
    pub(super) async fn record_outcomes(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        let mut calls = Vec::with_capacity(completions.len() / JOBS_PER_CALL + 1);
        let mut busy = busy_seconds(completions);
        // The last chunk first: jobs given back go to the head of their queue, so the first must come last.
        for chunk in completions.chunks(JOBS_PER_CALL).rev() {
            let arguments = SettleArguments {
                worker_ttl: self.worker_ttl(),
                result_ttl: self.config.result_ttl.as_secs(),
                failure_ttl: self.config.failure_ttl.as_secs(),
                busy_seconds: std::mem::take(&mut busy),
                runs: chunk.iter().map(|completion| self.ended_run(completion)).collect(),
            };
            calls.push(arguments.call(self.caller()));
        }
        let mut settled = Vec::with_capacity(completions.len());
        for answer in self.connection.invoke_all(&calls).await?.into_iter().rev() {
            let SettleAnswer { outcomes, notices, repeated_ids_wait } = SettleAnswer::read(answer?)?;
            if repeated_ids_wait {
                self.wakeup.ring();
            }
            let chunk = &completions[settled.len()..];
            for (outcome, completion) in outcomes.iter().zip(chunk) {
                settled.push(read_outcome(outcome, completion));
            }
            self.handle_notices(chunk, &notices);
        }
        Ok(settled)
    }

    fn ended_run<'a>(&self, completion: &'a Completion) -> EndedRun<'a> {
        let serializer = match &completion.delivery.payload {
            Ok(Payload::Call(call)) => call.serializer,
            _ => Serializer::Pickle,
        };
        let (outcome, text, delay) = match &completion.outcome {
            Outcome::Finished { result } => ("finished", return_value(result, serializer), None),
            Outcome::Failed { error, retry } => {
                ("failed", exc_string(error), self.next_delay(*retry, completion.delivery.attempt))
            }
            Outcome::Released => ("released", String::new(), None),
            Outcome::Stopped => ("stopped", exc_string(STOPPED), None),
        };
        EndedRun {
            outcome,
            lease: &completion.delivery.lease,
            started_iso: iso(completion.started_at),
            ended_iso: iso(completion.ended_at),
            started_epoch: epoch(completion.started_at),
            ended_epoch: epoch(completion.ended_at),
            text,
            delay,
        }
    }

    /// Calls the webhooks of `completions`, and says which callbacks nobody ran.
    fn handle_notices(&self, completions: &[Completion], notices: &[Notice]) {
        for Notice { run, webhooks, callback } in notices {
            if let Some(completion) = completions.get(*run) {
                self.handle_notice(completion, webhooks, callback);
            }
        }
    }

    fn handle_notice(&self, completion: &Completion, webhooks: &str, callback: &str) {
        let job = &completion.delivery.id;
        if !callback.is_empty() {
            self.skipped_callbacks.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(job, callback, "skipped a callback: it is Python code, which this worker cannot run");
        }
        if !webhooks.is_empty() {
            let function = match &completion.delivery.payload {
                Ok(Payload::Call(call)) => call.function.clone(),
                _ => String::new(),
            };
            let error = match &completion.outcome {
                Outcome::Failed { error, .. } => Some(error.clone()),
                _ => None,
            };
            self.webhooks.post(
                webhooks,
                &End {
                    job_id: job.clone(),
                    func_name: function,
                    enqueued_at: completion.delivery.enqueued_at,
                    ended_at: completion.ended_at,
                    exc_info: error,
                },
            );
        }
    }

    /// Seconds before the next attempt by our own policy; none when there is none.
    fn next_delay(&self, retry: Retry, attempt: u32) -> Option<f64> {
        let allowed = retry == Retry::Allowed && attempt < self.config.retry.max_attempts;
        allowed.then(|| self.config.retry.delay(attempt, rand::random()).as_secs_f64())
    }
}

fn read_outcome(outcome: &str, completion: &Completion) -> Settled {
    match outcome {
        "finished" => Settled::Finished,
        "retried" => Settled::Retried,
        "failed" => Settled::Failed,
        "released" => Settled::Released,
        "stopped" => Settled::Stopped,
        "lost" => Settled::NotOwned,
        error => {
            tracing::error!(job = completion.delivery.id, error, "the outcome of a job could not be recorded");
            Settled::NotOwned
        }
    }
}

/// The time in which at least one of these jobs ran. The jobs of a batch share a transaction, and their times.
fn busy_seconds(completions: &[Completion]) -> f64 {
    let mut runs: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        completions.iter().map(|completion| (completion.started_at, completion.ended_at)).collect();
    runs.sort_unstable();
    let mut busy = chrono::Duration::zero();
    let mut end = DateTime::<Utc>::MIN_UTC;
    for (from, to) in runs {
        let from = from.max(end);
        if to > from {
            busy += to - from;
            end = to;
        }
    }
    busy.num_microseconds().map_or(0.0, |micros| micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Lease};
    use chrono::TimeZone;

    fn run(from: i64, to: i64) -> Completion {
        let delivery = Delivery {
            queue: "q".into(),
            id: "j".into(),
            created_at: String::new(),
            generation: 0,
            run: None,
            attempt: 1,
            crashes: 0,
            enqueued_at: None,
            timeout: None,
            trace_context: None,
            payload: Ok(Payload::Record(String::new())),
            lease: Lease { queue: "q".into(), job: "j".into(), execution: "e".into() },
        };
        Completion {
            delivery,
            outcome: Outcome::Released,
            started_at: Utc.timestamp_opt(from, 0).unwrap(),
            ended_at: Utc.timestamp_opt(to, 0).unwrap(),
        }
    }

    #[test]
    fn a_batch_is_busy_once() {
        assert!((busy_seconds(&[run(0, 2), run(0, 2), run(1, 3), run(10, 11)]) - 4.0).abs() < 1e-9);
        assert!(busy_seconds(&[run(5, 4)]).abs() < 1e-9);
    }
}
