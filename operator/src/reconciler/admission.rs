//! New queues go first. Those that wait for a reconcile are taken in no particular order, and while thousands of queues
//! change all the time, one that was never reconciled would be passed over for minutes, with its jobs waiting. So only some of
//! the reconciles at once are for queues that were reconciled before, whether they are served or fail; one that finds none of
//! these free comes back in a moment.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Reconciles at once.
pub(super) const CONCURRENCY: u16 = 20;
/// Of these, for queues that are not new.
const FOR_KNOWN: usize = 16;
/// The shortest pause after which a queue that was not admitted comes back, and as much longer at most.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Which queues may be reconciled now.
#[derive(Debug)]
pub(crate) struct Admission(Semaphore);

impl Default for Admission {
    fn default() -> Self {
        Self(Semaphore::new(FOR_KNOWN))
    }
}

/// One reconcile, until this is dropped.
#[derive(Debug)]
pub(crate) struct AdmissionPermit<'a>(#[expect(dead_code, reason = "held")] Option<SemaphorePermit<'a>>);

impl Admission {
    /// Admits a queue that `is_new` or not, or returns how long to wait; `random` in [0, 1) keeps those that wait
    /// from coming back together.
    pub(crate) fn admit(&self, is_new: bool, random: f64) -> Result<AdmissionPermit<'_>, Duration> {
        if is_new {
            return Ok(AdmissionPermit(None));
        }
        self.0.try_acquire().map(|permit| AdmissionPermit(Some(permit))).map_err(|_| RETRY_AFTER.mul_f64(1.0 + random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_queue_is_admitted_however_many_change() {
        let admission = Admission::default();
        let mut under_way: Vec<_> =
            std::iter::repeat_with(|| admission.admit(false, 0.0)).take_while(Result::is_ok).collect();
        assert!(under_way.len() < usize::from(CONCURRENCY), "some are left for new ones");
        assert!(admission.admit(true, 0.0).is_ok());
        assert_eq!(admission.admit(false, 0.5).map(|_| ()), Err(RETRY_AFTER.mul_f64(1.5)));
        under_way.pop();
        assert!(admission.admit(false, 0.0).is_ok());
    }
}
