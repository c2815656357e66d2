//! Whether the loops of a leader go on: each beats at every turn, and one that has not beaten for long hangs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A loop that is silent for so long hangs, beyond the pause that it makes by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The loops that run, and when each beat last.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<&'static str, Beat>>>);

#[derive(Debug)]
struct Beat {
    at: Instant,
    pause: Duration,
}

/// One loop; it is no longer expected to beat once this is dropped.
#[derive(Debug)]
pub(crate) struct Pulse {
    liveness: Liveness,
    name: &'static str,
    pause: Duration,
}

impl Liveness {
    /// The loop `name` runs from now on, and beats every `pause` or more often.
    pub(crate) fn begin(&self, name: &'static str, pause: Duration) -> Pulse {
        let pulse = Pulse { liveness: self.clone(), name, pause };
        pulse.beat();
        pulse
    }

    /// A loop that hangs; `None` if all go on.
    pub(crate) fn hung(&self) -> Option<&'static str> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hung = beats.iter().find(|(_, beat)| beat.at.elapsed() > beat.pause + PATIENCE);
        hung.map(|(name, _)| *name)
    }
}

impl Pulse {
    /// The loop goes on.
    pub(crate) fn beat(&self) {
        let beat = Beat { at: Instant::now(), pause: self.pause };
        self.liveness.0.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, beat);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.liveness.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stops_beating_hangs_and_one_that_ended_does_not() {
        let liveness = Liveness::default();
        assert_eq!(liveness.hung(), None, "a standby has no loops");
        let (poll, watch) = (liveness.begin("poll", Duration::from_secs(30)), liveness.begin("watch", Duration::ZERO));
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(50)).await;
            assert_eq!(liveness.hung(), None);
            poll.beat();
            watch.beat();
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(liveness.hung(), Some("watch"));
        drop(watch);
        assert_eq!(liveness.hung(), None, "the term is over");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(liveness.hung(), Some("poll"));
    }
}
