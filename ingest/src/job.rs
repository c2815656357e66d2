//! What a recipe sees of a job: the variable `job` of its expressions.

use chrono::{DateTime, Utc};
use jobqueue_json::{Map, Value};

/// One job. `job.id`, `job.queue`, `job.function`, `job.args`, `job.kwargs`, `job.fields`, `job.attempt`,
/// `job.enqueued_at` in CEL.
#[derive(Debug, Clone, Copy)]
pub struct JobInput<'a> {
    /// RQ job id, stream entry id, or the id given to a list element.
    pub id: &'a str,
    /// Queue name.
    pub queue: &'a str,
    /// RQ function name; `None` for lists and streams.
    pub function: Option<&'a str>,
    /// RQ positional arguments. A list's element, or a stream entry's only field (or its `record` / `data` field), is
    /// `args[0]`, so that one recipe serves all protocols.
    pub args: &'a [Value],
    /// RQ keyword arguments.
    pub kwargs: &'a Map<String, Value>,
    /// A stream entry's fields; empty otherwise.
    pub fields: &'a Map<String, Value>,
    /// 1 for the first run.
    pub attempt: u32,
    /// When it was queued, if known.
    pub enqueued_at: Option<DateTime<Utc>>,
}
