//! Looks names up without letting slow name servers take all threads: the system's resolver blocks one for each name, and
//! cannot be interrupted. Names that were slow once wait for each other, and not for those that never were.

use std::collections::HashSet;
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

static RESOLVER: LazyLock<Resolver> = LazyLock::new(Resolver::default);

struct Resolver {
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    slow_names: Arc<Mutex<HashSet<String>>>,
}

impl Default for Resolver {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { fast: semaphore(AT_ONCE), slow: semaphore(SLOW_AT_ONCE), slow_names: Arc::default() }
    }
}

/// The addresses of `host`. The caller limits how long it waits; the look-up keeps its place until it is over.
pub(super) async fn lookup(host: String, port: u16) -> RedisResult<Vec<SocketAddr>> {
    RESOLVER.lookup(host, move |host| (host, port).to_socket_addrs().map(Iterator::collect)).await
}

impl Resolver {
    async fn lookup(
        &self,
        host: String,
        resolve: impl FnOnce(&str) -> std::io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> RedisResult<Vec<SocketAddr>> {
        let was_slow = self.slow_names.lock().unwrap_or_else(PoisonError::into_inner).contains(&host);
        let lane = if was_slow { &self.slow } else { &self.fast };
        let permit =
            lane.clone().acquire_owned().await.map_err(|error| RedisError::from(std::io::Error::other(error)))?;
        let slow_names = self.slow_names.clone();
        let found = tokio::task::spawn_blocking(move || {
            let (_permit, began) = (permit, Instant::now());
            let found = resolve(&host);
            let mut slow_names = slow_names.lock().unwrap_or_else(PoisonError::into_inner);
            if began.elapsed() < SLOW {
                slow_names.remove(&host);
            } else {
                if slow_names.len() >= REMEMBERED {
                    slow_names.clear();
                }
                slow_names.insert(host);
            }
            found
        });
        Ok(found.await.map_err(std::io::Error::other)??)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn slow_names_take_no_place_of_others() {
        let resolver = Arc::new(Resolver::default());
        let name = |number: usize| format!("slow-{number}");
        resolver.slow_names.lock().unwrap().extend((0..100).map(name));
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let stuck: Vec<_> = (0..100)
            .map(|number| {
                let (resolver, released) = (resolver.clone(), released.clone());
                tokio::spawn(async move {
                    let wait = move |_: &str| {
                        let _ = released.lock().unwrap().recv();
                        Ok(Vec::new())
                    };
                    resolver.lookup(name(number), wait).await
                })
            })
            .collect();
        let address: SocketAddr = "10.0.0.1:6379".parse().unwrap();
        let found = resolver.lookup("quick".into(), move |_| Ok(vec![address]));
        let found = tokio::time::timeout(Duration::from_secs(5), found).await.expect("it waits for nobody");
        assert_eq!(found.unwrap(), [address]);
        assert_eq!(resolver.fast.available_permits(), AT_ONCE, "none of the slow ones is in this lane");
        drop(release);
        for task in stuck {
            task.await.unwrap().unwrap();
        }
        assert!(resolver.slow_names.lock().unwrap().is_empty(), "they were fast this time");
    }
}
