//! Older samples, from a Prometheus that scrapes the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use serde::Deserialize;

use crate::samples::Sample;
use crate::source::{Numbers, QueueKey};
use crate::text::whole;

/// Seconds that are asked for, and between two of their samples.
pub(crate) const WINDOW: i64 = 6 * 3_600;
const STEP: i64 = 60;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// Bytes of an answer.
const LARGEST: usize = 4 << 20;

/// Where to ask.
pub struct Prometheus {
    url: url::Url,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    values: Vec<(f64, String)>,
}

type Set = fn(&mut Numbers, f64);

/// A metric of the operator, and the number that it is.
struct Metric {
    /// Its name, and the labels that it is asked with beside those of the queue.
    name: &'static str,
    labels: &'static str,
    /// What makes one number of several series: one ends and another begins when another operator leads.
    aggregate: &'static str,
    set: Set,
}

impl Metric {
    const fn largest(name: &'static str, set: Set) -> Self {
        Self { name, labels: "", aggregate: "max", set }
    }
}

const METRICS: [Metric; 8] = [
    Metric::largest("jobqueue_operator_queue_waiting", |numbers, value| numbers.waiting = whole(value)),
    Metric::largest("jobqueue_operator_queue_running", |numbers, value| numbers.running = whole(value)),
    Metric::largest("jobqueue_operator_queue_failed", |numbers, value| numbers.failed = whole(value)),
    Metric::largest("jobqueue_operator_queue_oldest_wait_seconds", |numbers, value| {
        numbers.oldest_wait = Some(whole(value));
    }),
    Metric::largest("jobqueue_operator_queue_arrivals_per_second", |numbers, value| numbers.arrivals = Some(value)),
    Metric::largest("jobqueue_operator_queue_completions_per_second", |numbers, value| {
        numbers.completions = Some(value);
    }),
    Metric::largest("jobqueue_operator_queue_desired_workers", |numbers, value| numbers.workers = whole(value)),
    Metric {
        name: "jobqueue_operator_queue_condition",
        labels: ",condition=\"DatabaseReachable\"",
        aggregate: "min",
        set: |numbers, value| numbers.database_trouble = value < 1.0,
    },
];

impl Prometheus {
    /// The server at this URL, such as `http://localhost:9090`.
    ///
    /// # Errors
    /// A text that says what is wrong with the URL.
    pub fn new(url: &str) -> Result<Self, String> {
        // The one of the process may be set already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url: url::Url = url.parse().map_err(|error| format!("the URL of Prometheus: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the URL of Prometheus starts with http:// or https://".to_owned());
        }
        let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
        Ok(Self { url, client })
    }

    /// What it knows of this queue.
    pub(crate) async fn samples(&self, key: &QueueKey) -> Result<Vec<Sample>, String> {
        let mut moments: BTreeMap<i64, Numbers> = BTreeMap::new();
        let answers = futures::future::join_all(METRICS.iter().map(|metric| self.ask(metric, key))).await;
        for (Metric { set, .. }, line) in METRICS.iter().zip(answers) {
            for (at, value) in line? {
                set(moments.entry(at).or_default(), value);
            }
        }
        if moments.is_empty() {
            let QueueKey { namespace, name } = key;
            return Err(format!(
                "it knows no metric of the operator about {namespace}/{name}; does it scrape the operator?"
            ));
        }
        Ok(moments.into_iter().map(|(at, numbers)| Sample::new(at, &numbers)).collect())
    }

    async fn ask(&self, metric: &Metric, key: &QueueKey) -> Result<Vec<(i64, f64)>, String> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let Metric { name, labels, aggregate, .. } = metric;
        let (namespace, queue) = (quoted(&key.namespace), quoted(&key.name));
        let query = format!("{aggregate}({name}{{namespace={namespace},jobqueue={queue}{labels}}})");
        let end = Utc::now().timestamp() / STEP * STEP;
        let mut url = self.url.clone();
        let path = format!("{}/api/v1/query_range", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("query", &query)
            .append_pair("start", &(end - WINDOW).to_string())
            .append_pair("end", &end.to_string())
            .append_pair("step", &STEP.to_string());
        let failed = |error: reqwest::Error| format!("it does not answer: {}", root(&error.without_url()));
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST {
                return Err("its answer is too large".to_owned());
            }
        }
        read(&body).map_err(|error| format!("it answers {}: {error}", response.status()))
    }
}

fn read(body: &[u8]) -> Result<Vec<(i64, f64)>, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "not what Prometheus answers".to_owned())?;
    if answer.status != "success" {
        return Err(answer.error);
    }
    let lines = answer.data.map(|data| data.result).unwrap_or_default();
    let values = lines.into_iter().flat_map(|line| line.values);
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
    let number =
        |(at, value): (f64, String)| Some((at as i64, value.parse::<f64>().ok().filter(|value| value.is_finite())?));
    Ok(values.filter_map(number).collect())
}

/// The innermost cause, which says what happened.
fn root(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_errors_too() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[60,"3"],[120,"NaN"],[180.5,"4.5"]]}]}}"#;
        assert_eq!(read(body), Ok(vec![(60, 3.0), (180, 4.5)]));
        assert_eq!(read(br#"{"status":"error","error":"bad query"}"#), Err("bad query".to_owned()));
        assert!(read(b"<html>").is_err());
    }
}
