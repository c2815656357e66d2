//! Numbers of workers go first: while many are being written at once, visits, events and looks wait, for a bounded time.

use std::time::Duration;

use tokio::sync::watch;

/// Fewer than so many under way hold nobody up.
const CROWD: usize = 16;
/// Nobody waits longer than that: queues that scale all the time would otherwise never tell of it.
const LONGEST: Duration = Duration::from_secs(10);

/// The numbers of workers that are being written.
#[derive(Debug)]
pub struct Rush(watch::Sender<usize>);

impl Default for Rush {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// One number that is being written, until it is dropped.
#[derive(Debug)]
pub struct Writing<'a>(&'a Rush);

impl Rush {
    /// A number of workers is about to be written.
    pub fn enter(&self) -> Writing<'_> {
        self.0.send_modify(|writing| *writing += 1);
        Writing(self)
    }

    /// Returns when hardly any number is being written any more, or after [`LONGEST`].
    pub async fn passed(&self) {
        let mut writing = self.0.subscribe();
        let quiet = writing.wait_for(|writing| *writing < CROWD);
        // The sender is ours, so that it cannot be gone; late is what the limit is for.
        let _ = tokio::time::timeout(LONGEST, quiet).await;
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|writing| *writing -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn others_wait_for_a_crowd_and_not_for_ever() {
        let rush = Rush::default();
        let mut crowd: Vec<Writing<'_>> = (1..CROWD).map(|_| rush.enter()).collect();
        let began = tokio::time::Instant::now();
        rush.passed().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "a few hold nobody up");
        crowd.push(rush.enter());
        rush.passed().await;
        assert_eq!(began.elapsed(), LONGEST);
        let leave = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            crowd.pop();
        };
        tokio::join!(rush.passed(), leave);
        assert_eq!(began.elapsed(), LONGEST + Duration::from_secs(1));
    }
}
