//! The explanation as a person reads it.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use jobqueue_crds::QueueStatus;
use jobqueue_crds::explanation::{Explanation, WorkerCounts};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::common::decision::decision_tables;
use crate::common::output::{age, columns, span};

/// The whole page.
pub(super) fn text(explanation: &Explanation, now: DateTime<Utc>) -> String {
    let Explanation { name, namespace, mode, decision, conditions, advice, .. } = explanation;
    let sentence = decision.as_ref().map(|decision| decision.message.as_str());
    let mut page = format!("JobQueue {name} in namespace {namespace}, mode {mode}\n\n");
    if let Some(sentence) = sentence {
        page.push_str(sentence);
        page.push_str("\n\n");
    }
    page.push_str(&facts(explanation, now));
    if let Some(decision) = decision {
        page.push_str(&decision_tables(decision));
    }
    if !conditions.is_empty() {
        let rows = conditions.iter().map(|condition| {
            let message = if Some(condition.message.as_str()) == sentence { "as above" } else { &condition.message };
            [&condition.type_, &condition.status, &condition.reason, message].map(str::to_owned).to_vec()
        });
        page.push('\n');
        page.push_str(&columns(&["CONDITION", "STATUS", "REASON", "MESSAGE"], &[], rows.collect()));
    }
    if !advice.is_empty() {
        page.push_str("\nWhat to do\n");
        for line in advice {
            let _ = writeln!(page, "- {line}");
        }
    }
    page
}

fn facts(explanation: &Explanation, now: DateTime<Utc>) -> String {
    let Explanation { workers, queue, last_scale, .. } = explanation;
    let mut lines = vec![("Workers", workers_line(workers))];
    if let Some(queue) = queue {
        lines.push(("Backlog", backlog_line(queue)));
        lines.extend(rates_line(queue).map(|line| ("Rates", line)));
        lines.extend(queue.observed_at.as_ref().map(|at| ("Seen", format!("{} ago", since(at, now)))));
    }
    if let Some(last) = last_scale {
        let line = format!("{} ago: {} -> {} workers, {}", since(&last.time, now), last.from, last.to, last.message);
        lines.push(("Last change", line));
    }
    lines.into_iter().fold(String::new(), |mut text, (name, line)| {
        let _ = writeln!(text, "{name:<13}{line}");
        text
    })
}

fn workers_line(workers: &WorkerCounts) -> String {
    let WorkerCounts { wanted, desired, present, ready } = workers;
    let asked = desired.map_or_else(|| format!("{present} present"), |desired| format!("{desired} asked for"));
    let wanted = wanted.map(|wanted| format!("; the work takes {wanted}")).unwrap_or_default();
    format!("{asked}, {ready} ready{wanted}")
}

fn backlog_line(queue: &QueueStatus) -> String {
    let QueueStatus { waiting, running, failed, scheduled, oldest_wait_seconds, .. } = queue;
    let oldest = oldest_wait_seconds.map(|seconds| format!("; the oldest waits {}", span(seconds))).unwrap_or_default();
    format!("{waiting} waiting, {running} running, {scheduled} scheduled, {failed} failed{oldest}")
}

fn rates_line(queue: &QueueStatus) -> Option<String> {
    let (arrivals, completions) = (queue.arrivals_per_second?, queue.completions_per_second?);
    let eta = queue.drain_eta_seconds.filter(|_| queue.waiting + queue.running > 0);
    let eta = eta.map(|seconds| format!("; clear in {}", span(seconds))).unwrap_or_default();
    Some(format!("{arrivals} arrive and {completions} end per second{eta}"))
}

fn since(moment: &Time, now: DateTime<Utc>) -> String {
    let seconds = moment.0.as_second();
    age(DateTime::from_timestamp(seconds, 0), now)
}
