//! Numbers of workers are written first: while many are being written at once, reconciles, events and polls wait, for a
//! bounded time.

use std::time::Duration;

use tokio::sync::watch;

/// Fewer writes at once than that delay nothing.
const MANY: usize = 16;
/// Nothing waits longer than that: the status of queues that scale all the time would never be written otherwise.
const LONGEST: Duration = Duration::from_secs(10);

/// The numbers of workers that are being written.
#[derive(Debug)]
pub(crate) struct WritePriority(watch::Sender<usize>);

impl Default for WritePriority {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// One number that is being written, until this is dropped.
#[derive(Debug)]
pub(crate) struct PriorityWrite<'a>(&'a WritePriority);

impl WritePriority {
    /// A number of workers is about to be written.
    pub(crate) fn begin_write(&self) -> PriorityWrite<'_> {
        self.0.send_modify(|writing| *writing += 1);
        PriorityWrite(self)
    }

    /// Returns when few numbers are being written, or after [`LONGEST`].
    pub(crate) async fn wait_until_few(&self) {
        let mut writing = self.0.subscribe();
        let few = writing.wait_for(|writing| *writing < MANY);
        // The sender is part of this, so it cannot be gone; the limit is meant to be reached.
        let _ = tokio::time::timeout(LONGEST, few).await;
    }
}

impl Drop for PriorityWrite<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|writing| *writing -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn others_wait_while_many_are_written_and_not_for_ever() {
        let priority = WritePriority::default();
        let mut writes: Vec<PriorityWrite<'_>> = (1..MANY).map(|_| priority.begin_write()).collect();
        let began = tokio::time::Instant::now();
        priority.wait_until_few().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "a few delay nothing");
        writes.push(priority.begin_write());
        priority.wait_until_few().await;
        assert_eq!(began.elapsed(), LONGEST);
        let leave = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writes.pop();
        };
        tokio::join!(priority.wait_until_few(), leave);
        assert_eq!(began.elapsed(), LONGEST + Duration::from_secs(1));
    }
}
