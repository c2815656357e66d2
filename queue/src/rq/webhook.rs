//! Webhooks of RQ 2.10 and later: told after the end of a job is on record. A listener that is away, slow or wrong is
//! logged and changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::{Client, Method, header, redirect};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Requests at once; further ones wait.
const AT_ONCE: usize = 16;

/// Requests under way or waiting; beyond that they are dropped and logged, so that a dead listener cannot fill memory.
const MAX_OUTSTANDING: usize = 2000;

/// The longest a listener is waited for, whatever the producer asked for.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a worker that ends waits for requests under way.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A job's webhook, as rq's `Webhook.to_dict` writes it.
#[derive(Debug, Deserialize)]
struct Webhook {
    url: String,
    job_status: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    timeout: Option<u64>,
}

/// The end of a job: what a `POST` tells.
#[derive(Debug)]
pub(super) struct End {
    pub(super) job_id: String,
    pub(super) func_name: String,
    pub(super) enqueued_at: Option<DateTime<Utc>>,
    pub(super) ended_at: DateTime<Utc>,
    /// Why it failed; none: it finished.
    pub(super) exc_info: Option<String>,
}

impl End {
    fn status(&self) -> &'static str {
        if self.exc_info.is_some() { "failed" } else { "finished" }
    }

    fn body(&self) -> serde_json::Value {
        // Python's isoformat().
        let iso = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, false);
        let mut body = json!({
            "job_id": self.job_id,
            "func_name": self.func_name,
            "status": self.status(),
            "enqueued_at": self.enqueued_at.map(iso),
            "ended_at": iso(self.ended_at),
        });
        if let Some(error) = &self.exc_info {
            body["exc_info"] = json!(error);
        }
        body
    }
}

/// Posts in the background.
pub(super) struct Webhooks {
    slots: Arc<Semaphore>,
    outstanding: TaskTracker,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), outstanding: TaskTracker::new() }
    }
}

/// One for the process: it keeps connections. None where TLS cannot be set up.
static CLIENT: LazyLock<Option<Client>> = LazyLock::new(|| {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A producer names the URL; where a listener would send us on to is not the producer's word any more.
    let client = Client::builder().redirect(redirect::Policy::none()).user_agent("jobqueue").build();
    client.inspect_err(|error| tracing::error!(%error, "webhooks cannot be sent")).ok()
});

impl Webhooks {
    /// Starts sending those of `webhooks` (the JSON list of the job's hash) that are for this end.
    pub(super) fn post(&self, webhooks: &str, end: &End) {
        let webhooks: Vec<Webhook> = match serde_json::from_str(webhooks) {
            Ok(webhooks) => webhooks,
            Err(error) => {
                tracing::warn!(job = end.job_id, %error, "the webhooks of a job cannot be read");
                return;
            }
        };
        for webhook in webhooks.into_iter().filter(|webhook| webhook.job_status == end.status()) {
            if self.outstanding.len() >= MAX_OUTSTANDING {
                tracing::warn!(job = end.job_id, "dropped a webhook: too many are waiting for their listeners");
                continue;
            }
            let (slots, job, body) = (Arc::clone(&self.slots), end.job_id.clone(), end.body());
            self.outstanding.spawn(async move {
                let Ok(_slot) = slots.acquire().await else { return };
                if let Err(error) = send(webhook, body).await {
                    // Without the URL: it may hold a token.
                    tracing::warn!(job, error = %error.without_url(), "a webhook did not get through");
                }
            });
        }
    }

    /// Waits a little for what is under way.
    pub(super) async fn finish(&self) {
        self.outstanding.close();
        if tokio::time::timeout(LAST_WAIT, self.outstanding.wait()).await.is_err() {
            tracing::warn!(left = self.outstanding.len(), "gave up on webhooks whose listeners do not answer");
        }
        self.outstanding.reopen();
    }
}

async fn send(webhook: Webhook, body: serde_json::Value) -> Result<(), reqwest::Error> {
    let Some(client) = CLIENT.as_ref() else { return Ok(()) };
    let timeout = webhook.timeout.map_or(Duration::from_secs(10), Duration::from_secs).min(MAX_TIMEOUT);
    let mut request = match webhook.method.as_deref() {
        Some("POST") => client
            .request(Method::POST, &webhook.url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string()),
        _ => client.request(Method::GET, &webhook.url),
    };
    for (name, value) in webhook.headers.unwrap_or_default() {
        request = request.header(name, value);
    }
    request.timeout(timeout).send().await?.error_for_status().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn a_post_tells_what_rq_tells() {
        let time = Utc.with_ymd_and_hms(2026, 11, 23, 23, 43, 47).unwrap();
        let end = End {
            job_id: "j".into(),
            func_name: "tasks.f".into(),
            enqueued_at: None,
            ended_at: time,
            exc_info: Some("boom".into()),
        };
        let expected = json!({
            "job_id": "j", "func_name": "tasks.f", "status": "failed", "enqueued_at": null,
            "ended_at": "2026-11-23T23:43:47.000000+00:00", "exc_info": "boom",
        });
        assert_eq!(end.body(), expected);
    }
}
