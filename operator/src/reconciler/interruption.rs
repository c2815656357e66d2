//! How loudly the log tells that a watch was interrupted. It begins anew by itself: one interruption that heals at once is no
//! news, and one that lasts is.

use std::time::Duration;

use kube::runtime::watcher::{self, Event};
use tokio::time::Instant;

/// A watch that fails for so long needs somebody's attention.
const LASTS: Duration = Duration::from_secs(10);
/// The longest pause between two attempts of a watch that goes on failing is half of that: a failure that comes later is another
/// interruption.
const APART: Duration = Duration::from_secs(60);

/// What is known of one watch.
#[derive(Debug, Default)]
pub(super) struct Interruption {
    /// When the first failure and the last one were; `None` while nothing fails.
    failures: Option<(Instant, Instant)>,
    /// It was told.
    is_told: bool,
}

/// What the log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Nothing.
    None,
    /// A failure that may heal at once: for who debugs.
    Passing,
    /// For so long nothing was heard: a warning.
    Lasting(Duration),
    /// What was warned of is over.
    Over,
}

impl Interruption {
    /// Takes in what the watch tells `now`.
    pub(super) fn observe<K>(&mut self, event: &watcher::Result<Event<K>>, now: Instant) -> Notice {
        match event {
            // A list is about to be asked for: this says nothing.
            Ok(Event::Init) => Notice::None,
            // The API server forgets old versions: no news.
            Err(watcher::Error::WatchError(answer)) if answer.code == 410 => Notice::None,
            Ok(_) => {
                self.failures = None;
                if std::mem::take(&mut self.is_told) { Notice::Over } else { Notice::None }
            }
            Err(_) => {
                let first = self.failures.filter(|(_, last)| now - *last < APART).map_or(now, |(first, _)| first);
                self.failures = Some((first, now));
                if now - first < LASTS {
                    return Notice::Passing;
                }
                self.is_told = true;
                Notice::Lasting(now - first)
            }
        }
    }

    /// Tells the log what the watch of `path` says.
    pub(super) fn log<K>(&mut self, path: &str, event: &watcher::Result<Event<K>>) {
        let notice = self.observe(event, Instant::now());
        let error = event.as_ref().err().map(ToString::to_string).unwrap_or_default();
        match notice {
            Notice::None => {}
            Notice::Passing => tracing::debug!(path, error, "a watch was interrupted; it goes on by itself"),
            Notice::Lasting(time) => tracing::warn!(
                path,
                error,
                seconds = time.as_secs(),
                "a watch is interrupted, and changes there are not seen; it is tried again"
            ),
            Notice::Over => tracing::info!(path, "the watch goes on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn failure(code: u16) -> watcher::Result<Event<ConfigMap>> {
        let status = serde_json::from_value(json!({"code": code, "message": "no"})).expect("a status");
        Err(watcher::Error::WatchError(Box::new(status)))
    }

    /// What is told of failures at these seconds.
    fn told(watch: &mut Interruption, began: Instant, seconds: &[u64]) -> Vec<Notice> {
        seconds.iter().map(|second| watch.observe(&failure(500), began + Duration::from_secs(*second))).collect()
    }

    #[tokio::test]
    async fn what_heals_at_once_is_for_who_debugs_and_what_lasts_is_a_warning() {
        let (mut watch, began) = (Interruption::default(), Instant::now());
        let later = |second| began + Duration::from_secs(second);
        assert_eq!(told(&mut watch, began, &[0, 1, 3, 9]), [const { Notice::Passing }; 4]);
        let lasting = |seconds| Notice::Lasting(Duration::from_secs(seconds));
        assert_eq!(told(&mut watch, began, &[12, 40]), [lasting(12), lasting(40)]);
        assert_eq!(watch.observe::<ConfigMap>(&Ok(Event::Init), later(41)), Notice::None);
        assert_eq!(told(&mut watch, began, &[41]), [lasting(41)], "a list that is begun has not succeeded");
        assert_eq!(watch.observe::<ConfigMap>(&Ok(Event::InitDone), later(42)), Notice::Over);
        assert_eq!(watch.observe::<ConfigMap>(&Ok(Event::InitDone), later(43)), Notice::None);
        assert_eq!(told(&mut watch, began, &[44]), [Notice::Passing], "another interruption");
    }

    #[tokio::test]
    async fn failures_far_apart_are_several_interruptions_and_old_versions_are_none() {
        let (mut watch, began) = (Interruption::default(), Instant::now());
        assert_eq!(told(&mut watch, began, &[0, 290, 580, 870]), [const { Notice::Passing }; 4]);
        for _ in 0..3 {
            assert_eq!(watch.observe(&failure(410), began + Duration::from_secs(900)), Notice::None);
        }
    }
}
