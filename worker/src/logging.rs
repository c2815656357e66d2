//! Logs on stderr: JSON where a machine reads, text on a terminal; panics are log lines too.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Sets up logging for the process; `Err` says what is wrong with the filter.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    // sqlx logs each slow statement, values included; our own metrics count them.
    let filter = EnvFilter::try_new(format!("sqlx=warn,{filter}"))
        .map_err(|error| format!("JOBQUEUE_LOG {filter:?} is no log filter: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let text = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if text {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let words = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, "panic: {words}");
    }));
    Ok(())
}
