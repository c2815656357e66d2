//! Whether a worker may do what it has to, and whether the keys are what they should be: tried before jobs are taken,
//! because a script that fails half-way would spoil what it began.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::QueueError;

/// Rights change seldom, and keys of the wrong type come seldom. After every error they are tried at once.
const TRUST: Duration = Duration::from_secs(60);

/// What was found when it was last tried.
#[derive(Default)]
pub(crate) struct Rights {
    seen: Mutex<Option<(Instant, Refused)>>,
}

/// The queues that cannot be served, and why.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused(Vec<(String, QueueError)>);

impl Refused {
    /// Whether this queue is to be left out.
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.0.iter().any(|(name, _)| name == queue)
    }

    /// What is wrong with one of them.
    pub(crate) fn error(self) -> Option<QueueError> {
        self.0.into_iter().next().map(|(_, error)| error)
    }
}

impl Rights {
    /// The queues that cannot be served; each is logged. `trial` answers for each queue, in order, with its
    /// name.
    ///
    /// # Errors
    /// That of the trial as a whole, or of the first queue if none can be served.
    pub(crate) async fn of(
        &self,
        trial: impl Future<Output = Result<Vec<(String, Result<(), QueueError>)>, QueueError>>,
    ) -> Result<Refused, QueueError> {
        let mut seen = self.seen.lock().await;
        if let Some((at, refused)) = &*seen
            && at.elapsed() < TRUST
        {
            return Ok(refused.clone());
        }
        *seen = None;
        let answers = trial.await?;
        let served = answers.iter().any(|(_, answer)| answer.is_ok());
        let mut refused = Refused::default();
        for (queue, answer) in answers {
            match answer {
                Ok(()) => {}
                Err(error) if !served => return Err(error),
                Err(error) => {
                    tracing::warn!(queue, %error, "this queue cannot be served; the others are");
                    refused.0.push((queue, error));
                }
            }
        }
        // A queue that is out of order is looked at again soon.
        let at = if refused.0.is_empty() { Instant::now() } else { Instant::now() - TRUST.mul_f32(0.9) };
        *seen = Some((at, refused.clone()));
        Ok(refused)
    }

    /// Passes an answer on; after an error everything is tried anew.
    pub(crate) async fn heard<T>(&self, answer: Result<T, QueueError>) -> Result<T, QueueError> {
        if answer.is_err() {
            self.forget().await;
        }
        answer
    }

    /// Something went wrong: everything is tried anew before the next claim.
    pub(crate) async fn forget(&self) {
        *self.seen.lock().await = None;
    }
}
