//! A claimed job, and what became of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_json::{Map, Value};

use crate::TraceContext;

/// One job in our hands. It stays ours while heartbeats renew its [`Lease`], until it is settled.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The queue it was taken from (RQ name, list or stream key).
    pub queue: String,
    /// RQ job id, stream entry id, or the id the claim gave a list element.
    pub id: String,
    /// `created_at` exactly as the producer wrote it; empty where the protocol has none.
    pub created_at: String,
    /// What tells this run from every other, and is the same for all of its deliveries: what the ledger knows it by. None
    /// for a job that a worker of an older version had in hand: its ledger entry is under its names.
    pub run: Option<String>,
    /// How many runs of this id are known to be done; with queue, id and `created_at` the names that older versions put
    /// into the ledger.
    pub generation: u64,
    /// 1 for the first run, counting crashed ones.
    pub attempt: u32,
    /// How many of the earlier attempts ended with the death of their worker: the job may be what kills it. A protocol
    /// that does not tell counts every earlier attempt.
    pub crashes: u32,
    /// When the producer (or a retry) put it on the queue, if the protocol says.
    pub enqueued_at: Option<DateTime<Utc>>,
    /// The time a run may take, if the producer limited it.
    pub timeout: Option<Duration>,
    /// What to do, or why it cannot be understood.
    pub payload: Result<Payload, PayloadError>,
    /// The producer's, if [`crate::QueueConfig::with_trace_context`] asks for it; `None` too where there is none, or none
    /// that can be read.
    pub trace_context: Option<Box<TraceContext>>,
    /// Proof of the claim.
    pub lease: Lease,
}

/// Names one claim of one job; the backend checks it before it changes anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The queue.
    pub queue: String,
    /// The job.
    pub job: String,
    /// RQ's execution id (32 hex digits), or the equivalent of the other protocols.
    pub execution: String,
}

/// What a job carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// An RQ function call, decoded as data.
    Call(Call),
    /// A list element.
    Record(String),
    /// A stream entry's fields.
    Fields(Map<String, Value>),
}

/// An RQ call, as JSON values. Pickled Python values arrive so:
///
/// | Python | here |
/// |---|---|
/// | `date`, `datetime`, `time` | RFC 3339 text; without an offset if it had no zone |
/// | `timedelta` | seconds, a number |
/// | `Decimal`, `UUID`, `Path` | text |
/// | `int` of any size, `float` | a number, with the digits that Python prints |
/// | `float` `nan`, `inf` | the text `NaN`, `Infinity`, `-Infinity` |
/// | `bytes`, `bytearray` | an object that stands for them, see [`crate::payload::bytes_value`] |
/// | `tuple`, `set`, `frozenset`, `deque` | list |
/// | `OrderedDict`, `defaultdict`, `Counter` | object |
/// | keys of a dict that are not text | their JSON as text (`1`, `true`, `null`) |
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function as the producer named it, e.g. `ParseCompany.parse_company`.
    pub function: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map<String, Value>,
    /// What the call was written with; the answer is written with the same.
    pub serializer: Serializer,
}

/// RQ's serializers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// `pickle`, RQ's default.
    Pickle,
    /// `rq.serializers.JSONSerializer`.
    Json,
}

/// Why a payload was refused. The text is what a person reads in the failed registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Larger, deeper or more inflated than the limits allow.
    #[error("the payload is over a limit: {0}")]
    TooLarge(String),
    /// A pickle that wants to import or call something.
    #[error("the payload would run code, and only data is accepted: {0}")]
    NotData(String),
    /// Not a payload of any known serializer.
    #[error("the payload cannot be decoded: {0}")]
    Malformed(String),
}

/// What became of a delivery.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The delivery that is done with.
    pub delivery: Delivery,
    /// How it ended.
    pub outcome: Outcome,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its effect is committed; `result` is the return value (`Null` for none).
    Finished {
        /// The return value.
        result: serde_json::Value,
    },
    /// It failed; `error` is what the failed registry will show.
    Failed {
        /// The reason, for a person.
        error: String,
        /// Whether a further attempt could help.
        retry: Retry,
    },
    /// Given back unharmed (drain, database away): to the head of its queue, the attempt not counted.
    Released,
    /// Stopped by `stop-job`: status `stopped`, no retry.
    Stopped,
}

/// Whether a failure may be retried by *our* policy. A producer's own RQ `Retry` is honoured in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt may succeed.
    Allowed,
    /// The record itself is at fault.
    Never,
}
