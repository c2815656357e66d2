//! Exit codes as an interface, and errors that say what failed, on which object, and what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

use jobqueue_queue::QueueError;

use crate::common::output::Output;

/// How the command ended. The numbers are stable and listed in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for is done.
    Ok = 0,
    /// It failed, for a reason that no other code names.
    Failure = 1,
    /// The command line, the manifest or the recipe is wrong. Clap uses the same number.
    Usage = 2,
    /// The command worked, and some of the records did not.
    Records = 3,
    /// Redis, the database or the cluster did not answer, or refused us.
    Unreachable = 4,
    /// The named job, file or queue does not exist.
    NotFound = 5,
    /// Ended by Ctrl-C or SIGTERM; `enqueue --resume` goes on from there.
    Interrupted = 130,
}

/// The list for `--help`.
pub(crate) const EXIT_HELP: &str = "\
Exit codes:
  0    done
  1    failed
  2    the command line, the manifest or the recipe is wrong
  3    done, but some records failed (the rest is in)
  4    Redis, the database or the cluster did not answer, or refused us
  5    the named job, file or JobQueue does not exist
  130  interrupted";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with its exit code and, where there is one, the next step.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// What failed and on which object, in one sentence.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// What the person can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, where something can be said.
    pub(crate) fn hint_if(self, hint: Option<&str>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Whether the error says that something did not answer.
    pub(crate) fn is_unreachable(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Self>().is_some_and(|failure| failure.exit == Exit::Unreachable)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints the error to stderr and says how to exit. A reader that closed our stdout has seen enough: no error.
pub(crate) fn report(output: Output, error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Ok;
    }
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    output.error(&format!("{error:#}"));
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_deref()) {
        output.hint(hint);
    }
    failure.map_or(Exit::Failure, |failure| failure.exit)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

impl From<&QueueError> for Exit {
    fn from(error: &QueueError) -> Self {
        match error {
            QueueError::Unavailable { .. } | QueueError::Denied { .. } => Self::Unreachable,
            QueueError::Config(_) => Self::Usage,
            QueueError::Data(_) => Self::Failure,
        }
    }
}

/// Redis' failure with its exit code, and what to check.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(crate) fn queue_failure(error: QueueError) -> anyhow::Error {
    Failure::new(Exit::from(&error), error.to_string()).hint_if(error.remedy()).into()
}
