//! Whether the loops and the watches of a leader go on: each loop beats at every turn, each watch with whatever the API server
//! says of it, and one that has not beaten for long hangs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What is silent for so long hangs, beyond the pause that it makes by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The API server ends a watch after so long, and it is begun again: an hour without an event is no silence.
const WATCH: Duration = Duration::from_secs(290);

/// What runs, by name, and when each beat last.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<String, Beat>>>);

#[derive(Debug)]
struct Beat {
    at: Instant,
    pause: Duration,
}

/// One loop or watch; it is no longer expected to beat once this is dropped.
#[derive(Debug)]
pub(crate) struct Pulse {
    liveness: Liveness,
    name: String,
    pause: Duration,
}

impl Liveness {
    /// The loop `name` runs from now on, and beats every `pause` or more often.
    pub(crate) fn begin(&self, name: &str, pause: Duration) -> Pulse {
        self.follow(format!("the {name} loop"), pause)
    }

    /// The objects at `path` are watched from now on.
    pub(crate) fn begin_watch(&self, path: &str) -> Pulse {
        self.follow(watch_of(path), WATCH)
    }

    /// The API server said something of the watch of `path`: an event, a bookmark, or that it is over. Nothing if it is not
    /// followed.
    pub(crate) fn hear(&self, path: &str) {
        if let Some(beat) = self.lock().get_mut(&watch_of(path)) {
            beat.at = Instant::now();
        }
    }

    /// What hangs; `None` if all go on.
    pub fn hung(&self) -> Option<String> {
        let beats = self.lock();
        let hung = beats.iter().find(|(_, beat)| beat.at.elapsed() > beat.pause + PATIENCE);
        hung.map(|(name, _)| name.clone())
    }

    fn follow(&self, name: String, pause: Duration) -> Pulse {
        let pulse = Pulse { liveness: self.clone(), name, pause };
        pulse.beat();
        pulse
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch_of(path: &str) -> String {
    format!("the watch of {path}")
}

impl Pulse {
    /// It goes on.
    pub(crate) fn beat(&self) {
        let beat = Beat { at: Instant::now(), pause: self.pause };
        self.liveness.lock().insert(self.name.clone(), beat);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.liveness.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stops_beating_hangs_and_one_that_ended_does_not() {
        let liveness = Liveness::default();
        assert_eq!(liveness.hung(), None, "a standby has no loops");
        let (poll, other) = (liveness.begin("poll", Duration::from_secs(30)), liveness.begin("other", Duration::ZERO));
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(50)).await;
            assert_eq!(liveness.hung(), None);
            poll.beat();
            other.beat();
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(liveness.hung().as_deref(), Some("the other loop"));
        drop(other);
        assert_eq!(liveness.hung(), None, "the term is over");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(liveness.hung().as_deref(), Some("the poll loop"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_lives_as_long_as_it_is_heard() {
        let liveness = Liveness::default();
        liveness.hear("/api/v1/pods");
        let watch = liveness.begin_watch("/api/v1/pods");
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(300)).await;
            assert_eq!(liveness.hung(), None);
            liveness.hear("/api/v1/pods");
            liveness.hear("/api/v1/secrets");
        }
        tokio::time::advance(Duration::from_secs(351)).await;
        liveness.hear("/api/v1/secrets");
        assert_eq!(liveness.hung().as_deref(), Some("the watch of /api/v1/pods"));
        drop(watch);
        assert_eq!(liveness.hung(), None, "the term is over");
    }
}
