//! Answers that hold for a moment, by the digest of their question: no token stays in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long an answer of the API server holds.
pub(crate) const FRESH: Duration = Duration::from_secs(30);

/// Of one kind of question.
pub(crate) struct Answers<T> {
    known: Mutex<HashMap<[u8; 32], (Instant, T)>>,
    most: usize,
}

impl<T: Clone> Answers<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self { known: Mutex::default(), most }
    }

    /// What is known, or what `ask` answers now. Errors are not kept.
    pub(crate) async fn get<E, F: Future<Output = Result<T, E>>>(
        &self,
        question: &str,
        questions: &Semaphore,
        ask: impl FnOnce() -> F,
    ) -> Result<T, E> {
        let key: [u8; 32] = Sha256::digest(question).into();
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        // Nobody closes it: without a permit there is a question more.
        let _permit = questions.acquire().await;
        // Somebody may have asked the same meanwhile.
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        let answer = ask().await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < FRESH);
        if known.len() < self.most {
            known.insert(key, (Instant::now(), answer.clone()));
        }
        Ok(answer)
    }

    fn known(&self, key: &[u8; 32]) -> Option<T> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, answer)| answer.clone())
    }
}
