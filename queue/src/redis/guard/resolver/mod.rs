//! Looks names up, so that those that hang hurt nobody: a look-up is a task without a thread, one name is looked up once at a
//! time, few begin at the same time, and if too many hang, the one that began first is given up.

mod dns;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{self, AbortHandle, BoxFuture};
use moka::Expiry;
use moka::sync::Cache;
use redis::{RedisError, RedisResult};
use tokio::sync::{Semaphore, oneshot};

use dns::Dns;

/// Look-ups that began a moment ago: as many questions as the buffer of a name server holds.
const BEGINNING: usize = 64;

/// A moment. After it the next may begin.
const MOMENT: Duration = Duration::from_millis(50);

/// Look-ups that take longer than that. Each has a few sockets and some kilobytes.
const HANGING: usize = 250;

/// How long a look-up may take, the wait for its turn included. Who asked may give up before; the answer is then there for
/// the next attempt.
const LIMIT: Duration = Duration::from_secs(5);

/// Characters of a host name: so many may be in DNS, and a dot at the end.
const LONGEST_NAME: usize = 254;

/// Names whose addresses are remembered.
const REMEMBERED: u64 = 4_096;

/// How long a name is remembered at most, whatever its name server says.
const LONGEST: Duration = Duration::from_secs(60);

/// How long it is remembered that a name has no address.
const NEGATIVE: Duration = Duration::from_secs(1);

/// That of the process, which asks the name servers of the system.
static SYSTEM: LazyLock<Arc<Resolver>> = LazyLock::new(|| {
    let dns = Arc::new(Dns::system());
    Arc::new(Resolver::new(move |host| {
        let dns = dns.clone();
        async move { dns.addresses(&host).await }.boxed()
    }))
});

/// Addresses of a name, and for how long they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    addresses: Arc<[IpAddr]>,
    lifetime: Duration,
}

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// There is none.
    NoAddress,
    /// Nobody answered in time.
    NoAnswer,
    /// Something else, in a sentence.
    Other(String),
}

type Answer = Result<Found, Failure>;

/// Looks one name up.
type Ask = dyn Fn(String) -> BoxFuture<'static, Answer> + Send + Sync;

/// A resolver of names.
pub(super) struct Resolver {
    known: Cache<String, Answer>,
    shared: Arc<Shared>,
}

struct Shared {
    ask: Box<Ask>,
    beginning: Semaphore,
    /// Names that are being looked up, those that wait for their turn included.
    by_name: Mutex<HashMap<String, UnderWay>>,
    hanging: Mutex<Hanging>,
}

/// Look-ups that take longer, the oldest first.
#[derive(Default)]
struct Hanging {
    by_number: BTreeMap<u64, AbortHandle>,
    last: u64,
}

/// A look-up that is under way.
type UnderWay = future::Shared<oneshot::Receiver<Answer>>;

/// How long an answer is remembered.
struct Lifetime;

impl Expiry<String, Answer> for Lifetime {
    fn expire_after_create(&self, _: &String, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.as_ref().map_or(NEGATIVE, |found| found.lifetime.min(LONGEST)))
    }

    fn expire_after_update(
        &self,
        name: &String,
        answer: &Answer,
        at: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(name, answer, at)
    }
}

impl Resolver {
    /// The one of this process.
    pub(super) fn system() -> Arc<Self> {
        SYSTEM.clone()
    }

    fn new(ask: impl Fn(String) -> BoxFuture<'static, Answer> + Send + Sync + 'static) -> Self {
        let known = Cache::builder().max_capacity(REMEMBERED).expire_after(Lifetime).build();
        let shared = Shared {
            ask: Box::new(ask),
            beginning: Semaphore::new(BEGINNING),
            by_name: Mutex::default(),
            hanging: Mutex::default(),
        };
        Self { known, shared: Arc::new(shared) }
    }

    /// Addresses of `host`, a few of each family. The caller limits how long it waits.
    pub(super) async fn lookup(&self, host: &str, port: u16) -> RedisResult<Vec<SocketAddr>> {
        if host.len() > LONGEST_NAME {
            return Err(explained(&Failure::Other("this is not a host name".into())));
        }
        let answer = match self.known.get(host) {
            Some(answer) => answer,
            // Without an answer its task ended with the runtime.
            None => self.under_way(host).await.unwrap_or(Err(Failure::NoAnswer)),
        };
        let found = answer.map_err(|failure| explained(&failure))?;
        Ok(found.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    /// Asks for `host` anew the next time: its addresses led nowhere.
    pub(super) fn forget(&self, host: &str) {
        self.known.invalidate(host);
    }

    /// The look-up of `host` that is under way, or a new one.
    fn under_way(&self, host: &str) -> UnderWay {
        let mut by_name = lock(&self.shared.by_name);
        if let Some(under_way) = by_name.get(host) {
            return under_way.clone();
        }
        let (tell, answer) = oneshot::channel();
        let answer = answer.shared();
        by_name.insert(host.to_owned(), answer.clone());
        let entry = Entry { shared: self.shared.clone(), host: host.to_owned() };
        let known = self.known.clone();
        tokio::spawn(async move {
            let asked = tokio::time::timeout(LIMIT, entry.shared.ask_in_turn(&entry.host)).await;
            let answer = asked.unwrap_or(Err(Failure::NoAnswer));
            if matches!(&answer, Ok(found) if !found.lifetime.is_zero()) || answer == Err(Failure::NoAddress) {
                known.insert(entry.host.clone(), answer.clone());
            }
            drop(entry);
            // Everybody may have given up.
            let _ = tell.send(answer);
        });
        answer
    }
}

impl Shared {
    async fn ask_in_turn(&self, host: &str) -> Answer {
        // The semaphore is never closed.
        let turn = self.beginning.acquire().await.ok();
        let (mut asked, abort) = future::abortable((self.ask)(host.to_owned()));
        if let Ok(answer) = tokio::time::timeout(MOMENT, &mut asked).await {
            return answer.unwrap_or(Err(Failure::NoAnswer));
        }
        let _hangs = self.hangs(abort);
        drop(turn);
        asked.await.unwrap_or(Err(Failure::NoAnswer))
    }

    /// A look-up takes longer: one that has taken longer still is given up if there are too many.
    fn hangs(&self, abort: AbortHandle) -> Hangs<'_> {
        let mut hanging = lock(&self.hanging);
        if hanging.by_number.len() >= HANGING
            && let Some((_, oldest)) = hanging.by_number.pop_first()
        {
            oldest.abort();
        }
        hanging.last += 1;
        let number = hanging.last;
        hanging.by_number.insert(number, abort);
        Hangs { shared: self, number }
    }
}

/// A look-up takes longer until this is dropped.
struct Hangs<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Hangs<'_> {
    fn drop(&mut self) {
        lock(&self.shared.hanging).by_number.remove(&self.number);
    }
}

/// A name is looked up until this is dropped, whatever ends it.
struct Entry {
    shared: Arc<Shared>,
    host: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.shared.by_name).remove(&self.host);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explained(failure: &Failure) -> RedisError {
    let (kind, text) = match failure {
        Failure::NoAddress => (io::ErrorKind::NotFound, "the host name has no address"),
        Failure::NoAnswer => (io::ErrorKind::TimedOut, "the name servers did not answer for the host name in time"),
        Failure::Other(text) => (io::ErrorKind::Other, text.as_str()),
    };
    io::Error::new(kind, text).into()
}
