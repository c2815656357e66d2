//! New queues go first. What waits for a visit is taken in no particular order, and while thousands of queues change all the
//! time, one that was never visited would be passed over for minutes: nobody looks at its jobs meanwhile. So only some
//! of the visits at once are for queues that are served already; who finds none of these free comes back in a moment.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Visits at once.
pub const AT_ONCE: u16 = 20;
/// Of these, to queues that are served already.
const AGAIN: usize = 16;
/// When somebody who was put off comes back, at the soonest, and as much later at the most.
const PUT_OFF: Duration = Duration::from_millis(250);

/// Who may be visited now.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AGAIN))
    }
}

/// A visit, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a>(#[expect(dead_code, reason = "held")] Option<SemaphorePermit<'a>>);

impl Turns {
    /// A visit to a queue that is `served` already or not, or how long to wait; `luck`, from 0 to 1, keeps those who wait from
    /// coming back together.
    pub fn take(&self, served: bool, luck: f64) -> Result<Turn<'_>, Duration> {
        if !served {
            return Ok(Turn(None));
        }
        self.0.try_acquire().map(|permit| Turn(Some(permit))).map_err(|_| PUT_OFF.mul_f64(1.0 + luck))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_queue_has_its_turn_however_many_change() {
        let turns = Turns::default();
        let mut under_way: Vec<_> =
            std::iter::repeat_with(|| turns.take(true, 0.0)).take_while(Result::is_ok).collect();
        assert!(under_way.len() < usize::from(AT_ONCE), "some are left for new ones");
        assert!(turns.take(false, 0.0).is_ok());
        assert_eq!(turns.take(true, 0.5).map(|_| ()), Err(PUT_OFF.mul_f64(1.5)));
        under_way.pop();
        assert!(turns.take(true, 0.0).is_ok());
    }
}
