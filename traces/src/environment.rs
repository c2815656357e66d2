//! Whether and where traces go: OpenTelemetry's own environment variables. What is wrong with them is told, and the program
//! works without traces.

use std::env;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT, SdkTracerProvider};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

use super::export::{BoundedProcessor, ExportState, OnRuntime};
use super::{Identity, Traces};

/// Links of a span that the library keeps if nobody says otherwise.
const LINKS: usize = 128;
/// How long a collector may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a collector may take for one request, if the environment does not say.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

impl Traces {
    /// As the environment says, counting in `dropped` the spans that no collector received; `None` if it names no collector.
    /// Needs a runtime.
    ///
    /// # Errors
    /// Which setting cannot be followed. The program works without traces then.
    pub fn from_environment(identity: &Identity, dropped: &Counter) -> Result<Option<Self>, String> {
        is_wanted().then(|| Self::to_collector(identity, dropped)).transpose()
    }

    /// The same for a program with a log: that says whether traces are sent, and why none are.
    pub fn logged_from_environment(identity: &Identity, dropped: &Counter) -> Option<Self> {
        match Self::from_environment(identity, dropped) {
            Ok(traces) => traces.inspect(|_| tracing::info!("sending traces")),
            Err(problem) => {
                tracing::warn!(problem, "no traces are sent");
                None
            }
        }
    }

    fn to_collector(identity: &Identity, dropped: &Counter) -> Result<Self, String> {
        is_possible()?;
        let most = number(OTEL_BSP_MAX_QUEUE_SIZE).unwrap_or(OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT).max(1);
        let state = ExportState::new(most, dropped.clone());
        let client = OnRuntime { runtime: Handle::current(), client: http_client()?, state: Arc::clone(&state) };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        // Not the error's words: they quote the URL of the collector, which may hold a password.
        let exporter = exporter
            .map_err(|_| "OTEL_EXPORTER_OTLP_ENDPOINT or another setting of the exporter is wrong".to_owned())?;
        let mut provider = SdkTracerProvider::builder()
            .with_resource(resource(identity))
            .with_span_processor(BoundedProcessor::new(&state, exporter));
        if set("OTEL_SPAN_LINK_COUNT_LIMIT").is_none() {
            let links = identity.links.max(LINKS);
            provider = provider.with_max_links_per_span(u32::try_from(links).unwrap_or(u32::MAX));
        }
        Ok(Self::new(provider.build(), identity.service))
    }
}

/// Whether a collector is named, and traces are not switched off.
fn is_wanted() -> bool {
    let named = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT")).is_some();
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exporters = set("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".into());
    named && !disabled && exporters.split(',').any(|exporter| exporter.trim() == "otlp")
}

/// Why a setting cannot be followed.
fn is_possible() -> Result<(), String> {
    let protocol = signal("PROTOCOL").unwrap_or_else(|| "http/protobuf".into());
    if protocol != "http/protobuf" {
        return Err(format!("OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}: only http/protobuf is there (port 4318)"));
    }
    match signal("COMPRESSION") {
        Some(compression) if compression != "none" => {
            Err(format!("OTEL_EXPORTER_OTLP_COMPRESSION is {compression:?}: only none is there"))
        }
        _ => Ok(()),
    }
}

/// What the spans have in common; the environment's words win.
fn resource(identity: &Identity) -> Resource {
    let ours = [
        KeyValue::new("service.name", identity.service),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", identity.instance.clone()),
    ];
    let more = identity.attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone()));
    let resource = Resource::builder_empty()
        .with_attributes(ours.into_iter().chain(more))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match set("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

fn http_client() -> Result<reqwest::Client, String> {
    let limit = signal("TIMEOUT").and_then(|text| text.parse().ok()).map_or(REQUEST_LIMIT, Duration::from_millis);
    let mut client = reqwest::Client::builder().timeout(limit).connect_timeout(CONNECT_LIMIT).user_agent("jobqueue");
    if let Some(path) = signal("CERTIFICATE") {
        let wrong = |error: &dyn Display| format!("OTEL_EXPORTER_OTLP_CERTIFICATE, {path}: {error}");
        let pem = std::fs::read(&path).map_err(|error| wrong(&error))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
        client = client.tls_certs_only(certificates);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    client.build().map_err(|error| format!("TLS for the collector cannot be set up: {error}"))
}

/// A variable of the exporter: the one for traces, or else the one for everything.
fn signal(name: &str) -> Option<String> {
    set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn number(name: &str) -> Option<usize> {
    set(name)?.parse().ok()
}

/// The variable's text; `None` if it is empty too, as OpenTelemetry has it.
fn set(name: &str) -> Option<String> {
    env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
