//! A dashboard that serves the queues of a test, and what a browser would send it.

use std::time::Duration;

use jobqueue_dashboard::{Dashboard, Settings};
use jobqueue_inspect::source::{Backlog, LocalQueue, LocalSource};
use jobqueue_queue::{
    Completion, Connection, ConnectionUrl, Outcome, Protocol, QueueConfig, Retry, StatsQuery, Timeouts, TlsOptions,
};
use jobqueue_testkit::{redis, unique};
use reqwest::{Client, RequestBuilder, StatusCode, header, redirect};

/// A dashboard with one queue.
pub(crate) struct Served {
    pub(crate) queue: String,
    /// Without a path.
    pub(crate) base: String,
    pub(crate) token: String,
    cookie: String,
    client: Client,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn connection() -> Connection {
    let url: ConnectionUrl = redis().url().parse().expect("a URL");
    Connection::new(&url, &TlsOptions::default(), Timeouts::default()).expect("a connection")
}

/// Puts these records on a list, and lets a worker fail each with its error.
pub(crate) async fn failed(queue: &str, jobs: &[(String, String)]) {
    for (record, _) in jobs {
        redis().cli(&["RPUSH", queue, record]);
    }
    let config = QueueConfig::new(Protocol::List, vec![queue.to_owned()], unique("worker"));
    let backend = jobqueue_queue::connect(&connection(), config).expect("a backend");
    backend.register().await.expect("registered");
    let claim = backend.claim(jobs.len()).await.expect("claimed");
    assert_eq!(claim.deliveries.len(), jobs.len());
    let now = chrono::Utc::now();
    let completion = |(delivery, (_, error)): (_, &(String, String))| Completion {
        delivery,
        outcome: Outcome::Failed { error: error.clone(), retry: Retry::Never },
        started_at: now,
        ended_at: now,
    };
    let completions: Vec<_> = claim.deliveries.into_iter().zip(jobs).map(completion).collect();
    backend.settle(&completions).await.expect("settled");
    backend.deregister().await.expect("deregistered");
}

impl Served {
    /// Serves a list.
    pub(crate) async fn list(queue: &str, read_only: bool) -> Self {
        Self::start(queue, Protocol::List, read_only).await
    }

    pub(crate) async fn start(queue: &str, protocol: Protocol, read_only: bool) -> Self {
        let query = StatsQuery {
            protocol,
            names: vec![queue.to_owned()],
            key_prefix: "rq".into(),
            consumer_group: "jobqueue".into(),
        };
        let backlog = Backlog { connection: connection(), query };
        let local = LocalQueue { name: queue.to_owned(), backlog, spec: None };
        let source = LocalSource::new("a test's Redis".into(), vec![local]);
        let settings = Settings { read_only, ..Settings::default() };
        let dashboard = Dashboard::bind(settings, source).await.expect("a free port");
        let (base, token) = {
            let url = dashboard.url();
            let (base, token) = url.split_once("/?token=").expect("a token");
            (base.to_owned(), token.to_owned())
        };
        let task = tokio::spawn(async move { dashboard.serve().await.expect("serves") });
        // The providers of TLS that a client asks for.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        let answer = client.get(format!("{base}/?token={token}")).send().await.expect("an answer");
        let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        let served = Self { queue: queue.to_owned(), base, token, cookie, client, task };
        served.wait_for(&served.address(""), "Oldest wait").await;
        served
    }

    /// The address of the queue's page, or of one below it.
    pub(crate) fn address(&self, below: &str) -> String {
        let name: String = url::form_urlencoded::byte_serialize(self.queue.as_bytes()).collect();
        format!("/q/local/{}{below}", name.replace('+', "%20"))
    }

    pub(crate) fn bare(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.bare(path).header(header::COOKIE, &self.cookie)
    }

    pub(crate) fn post(&self, path: &str, form: &str) -> RequestBuilder {
        self.client
            .post(format!("{}{path}", self.base))
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.to_owned())
    }

    /// The text of a page that is there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    }

    /// Loads a page until it says this.
    pub(crate) async fn wait_for(&self, path: &str, wanted: &str) -> String {
        for _ in 0..600 {
            let answer = self.get(path).send().await.expect("an answer");
            let text = answer.text().await.expect("text");
            if text.contains(wanted) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} never said {wanted}: {}", self.page(path).await);
    }

    /// The action and the hidden field of the form on a page.
    pub(crate) fn form(page: &str) -> (String, String) {
        let part = |start: &str, end: &str| {
            let rest = page.split_once(start).unwrap_or_else(|| panic!("no {start} in {page}")).1;
            rest.split_once(end).expect("an end").0.to_owned()
        };
        (part("method=\"post\" action=\"", "\""), part("name=\"form_token\" value=\"", "\""))
    }
}
