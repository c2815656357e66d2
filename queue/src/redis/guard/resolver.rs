//! Looks names up without letting slow name servers take all threads: the system's resolver blocks one for each name, and
//! cannot be interrupted. Names that were slow once wait for each other, and not for those that never were.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{RedisError, RedisResult};
use tokio::sync::Semaphore;

/// Look-ups at the same time of names that were never slow.
const AT_ONCE: usize = 32;
/// Look-ups at the same time of names that were.
const SLOW_AT_ONCE: usize = 8;
/// A name that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Slow names that are remembered.
const REMEMBERED: usize = 10_000;

/// That of the process, which asks the system.
static SYSTEM: LazyLock<Arc<Resolver>> =
    LazyLock::new(|| Arc::new(Resolver::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))));

/// Looks one name up, and blocks until it is done.
type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// A resolver of names.
pub(super) struct Resolver {
    resolve: Arc<Resolve>,
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    names: Arc<Mutex<Names>>,
}

/// What is known of names.
#[derive(Default)]
struct Names {
    slow: HashSet<String>,
    /// Those that are being looked up, and since when.
    asked: HashMap<String, Instant>,
}

impl Names {
    /// Whether a name is slow, as far as that is known by now.
    fn is_slow(&self, host: &str) -> bool {
        self.slow.contains(host) || self.asked.get(host).is_some_and(|began| began.elapsed() >= SLOW)
    }

    /// A look-up that began at `began` is over.
    fn record(&mut self, host: String, began: Instant) {
        self.asked.remove(&host);
        if began.elapsed() < SLOW {
            self.slow.remove(&host);
            return;
        }
        if self.slow.len() >= REMEMBERED {
            self.slow.clear();
        }
        self.slow.insert(host);
    }
}

impl Resolver {
    /// The one of this process.
    pub(super) fn system() -> Arc<Self> {
        SYSTEM.clone()
    }

    fn new(resolve: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            resolve: Arc::new(resolve),
            fast: semaphore(AT_ONCE),
            slow: semaphore(SLOW_AT_ONCE),
            names: Arc::default(),
        }
    }

    /// The addresses of `host`. The caller limits how long it waits; the look-up keeps its place until it is over.
    pub(super) async fn lookup(&self, host: String, port: u16) -> RedisResult<Vec<SocketAddr>> {
        let is_known_slow = self.names.lock().unwrap_or_else(PoisonError::into_inner).is_slow(&host);
        let lane = if is_known_slow { &self.slow } else { &self.fast };
        let permit = lane.clone().acquire_owned().await.map_err(|error| RedisError::from(io::Error::other(error)))?;
        let (resolve, names) = (self.resolve.clone(), self.names.clone());
        let found = tokio::task::spawn_blocking(move || {
            let (_permit, began) = (permit, Instant::now());
            names.lock().unwrap_or_else(PoisonError::into_inner).asked.entry(host.clone()).or_insert(began);
            let found = resolve(&host, port);
            names.lock().unwrap_or_else(PoisonError::into_inner).record(host, began);
            found
        });
        Ok(found.await.map_err(io::Error::other)??)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::redis::connection::{Connection, Timeouts, TlsOptions};
    use crate::redis::connector::Connector;
    use crate::redis::guard::Guard;
    use crate::{QueueError, redis::url::ConnectionUrl};

    /// A resolver that counts what it is asked, and what ends the look-ups of names that begin with `slow`: dropping it.
    fn fixture() -> (Arc<Resolver>, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel::<()>();
        let (released, asked) = (Mutex::new(released), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let resolve = move |host: &str, port: u16| {
            counted.fetch_add(1, Ordering::SeqCst);
            match host {
                "quick" => return Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]),
                "unknown" => return Err(io::ErrorKind::NotFound.into()),
                _ => {}
            }
            let _ = released.lock().unwrap().recv();
            Ok(Vec::new())
        };
        (Arc::new(Resolver::new(resolve)), asked, release)
    }

    fn connection(host: &str, connect: Duration, resolver: &Arc<Resolver>) -> Connection {
        let url: ConnectionUrl = format!("redis://{host}:6379").parse().unwrap();
        let timeouts = Timeouts { connect, ..Timeouts::default() };
        let connector = Connector::new(&url, &TlsOptions::default()).unwrap();
        let connector = connector
            .guarded(Guard::default(), timeouts)
            .unwrap()
            .dialling_with(|dialer| dialer.with_resolver(resolver));
        Connection::from_connector(connector, timeouts)
    }

    #[tokio::test]
    async fn slow_names_take_no_place_of_others() {
        let (resolver, _, release) = fixture();
        let name = |number: usize| format!("slow-{number}");
        resolver.names.lock().unwrap().slow.extend((0..100).map(name));
        let stuck: Vec<_> = (0..100)
            .map(|number| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.lookup(name(number), 6379).await })
            })
            .collect();
        let found = tokio::time::timeout(Duration::from_secs(5), resolver.lookup("quick".into(), 6379)).await;
        assert_eq!(found.expect("it waits for nobody").unwrap(), ["10.0.0.1:6379".parse::<SocketAddr>().unwrap()]);
        assert_eq!(resolver.fast.available_permits(), AT_ONCE, "none of the slow ones is in this lane");
        drop(release);
        for task in stuck {
            task.await.unwrap().unwrap();
        }
        assert!(resolver.names.lock().unwrap().slow.is_empty(), "they were fast this time");
    }

    #[test]
    fn a_name_is_slow_while_it_is_and_after_it_was() {
        let (mut names, long_ago) = (Names::default(), Instant::now().checked_sub(SLOW).unwrap());
        names.asked.insert("new".into(), Instant::now());
        assert!(!names.is_slow("new"), "nobody knows yet");
        names.asked.insert("hangs".into(), long_ago);
        assert!(names.is_slow("hangs"));
        names.record("hangs".into(), long_ago);
        assert!(names.is_slow("hangs") && names.asked.len() == 1, "it was slow");
        names.record("hangs".into(), Instant::now());
        assert!(!names.is_slow("hangs"));
    }

    #[tokio::test]
    async fn a_name_that_is_slow_is_waited_for_as_long_as_for_a_connection_and_not_asked_again_at_once() {
        let (resolver, asked, _release) = fixture();
        let connection = connection("slow", Duration::from_millis(100), &resolver);
        for _ in 0..3 {
            let answer = tokio::time::timeout(Duration::from_secs(5), connection.ping()).await.expect("it has a limit");
            let error = answer.unwrap_err();
            assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
            assert!(error.to_string().contains("timed out while connecting"), "{error}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_nowhere_is_asked_for_less_and_less_often() {
        let (resolver, asked, _release) = fixture();
        let connection = connection("unknown", Duration::from_secs(2), &resolver);
        let mut minutes = Vec::new();
        for _ in 0..3 {
            let before = asked.load(Ordering::SeqCst);
            for _ in 0..240 {
                connection.ping().await.unwrap_err();
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            minutes.push(asked.load(Ordering::SeqCst) - before);
        }
        assert!((10..=30).contains(&minutes[0]), "{minutes:?}: often at first");
        assert!((10..=13).contains(&minutes[2]), "{minutes:?}: each five seconds at last");
    }
}
