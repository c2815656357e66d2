//! Counts what a server answers, below the parser: beyond a limit the connection breaks. All connections of the process share
//! what large answers may take of its memory.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::ReplyLimits;
use super::scanner::Scanner;

/// What a value costs in memory once it is parsed, beside its bytes.
const VALUE: usize = 64;

/// Up to so much, an answer is read without asking. A thousand servers may do so at the same time.
const SMALL: usize = 32 << 10;
/// Up to so much, by so many servers at a time.
const MEDIUM: (usize, usize) = (512 << 10, 64);
/// Up to the limits, by so many servers at a time.
const LARGE: usize = 3;

static MEDIUM_ANSWERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MEDIUM.1)));
static LARGE_ANSWERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LARGE)));

/// The count of one connection, shared by its stream and by those who ask.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: ReplyLimits,
    /// What all answers cost so far, also those of other connections to the same server.
    total: Arc<AtomicU64>,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    /// What was asked last.
    command: String,
    bytes: usize,
    scanner: Scanner,
    /// What for larger answers was granted: one permit per size.
    permits: Vec<OwnedSemaphorePermit>,
    /// Round trips that are not over.
    under_way: usize,
    /// The limit that was exceeded, and by the answer to what.
    excess: Option<String>,
}

impl Count {
    fn cost(&self) -> usize {
        self.bytes.saturating_add(self.scanner.values().saturating_mul(VALUE))
    }

    /// Permits that what was read so far needs.
    fn needed(&self) -> usize {
        match self.cost() {
            0..=SMALL => 0,
            cost if cost <= MEDIUM.0 => 1,
            _ => 2,
        }
    }
}

/// A round trip; over when this is dropped.
pub(crate) struct RoundTrip<'a>(&'a Meter);

impl Drop for RoundTrip<'_> {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.under_way -= 1;
        if count.under_way == 0 {
            count.permits.clear();
        }
    }
}

impl Meter {
    /// Held to `limits`; adds what the answers cost to `total`.
    pub(crate) fn new(limits: ReplyLimits, total: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { limits, total, count: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A round trip with `command` begins: the answer is counted from here.
    pub(crate) fn begin(&self, command: &str) -> RoundTrip<'_> {
        let mut count = self.lock();
        command.clone_into(&mut count.command);
        count.bytes = 0;
        count.scanner.restart();
        count.under_way += 1;
        RoundTrip(self)
    }

    /// The limit that was exceeded, in a sentence without its subject; `None` if none was.
    pub(crate) fn excess(&self) -> Option<String> {
        self.lock().excess.clone()
    }

    /// Whether the answer had become so large that it kept others of that size waiting.
    pub(crate) fn is_large(&self) -> bool {
        self.lock().permits.len() > 1
    }

    fn take_in(&self, bytes: &[u8]) -> io::Result<()> {
        let mut count = self.lock();
        let before = count.cost();
        count.bytes = count.bytes.saturating_add(bytes.len());
        let within = if count.bytes > self.limits.bytes {
            Err(format!("{} bytes", self.limits.bytes))
        } else {
            count.scanner.feed(bytes, &self.limits)
        };
        let cost = u64::try_from(count.cost().saturating_sub(before)).unwrap_or(u64::MAX);
        self.total.fetch_add(cost, Ordering::Relaxed);
        within.map_err(|limit| {
            let excess = format!("answered {} with more than {limit}", count.command);
            count.excess = Some(excess.clone());
            io::Error::new(io::ErrorKind::ConnectionAborted, excess)
        })
    }
}

/// A stream whose answers are counted.
pub(crate) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
    queues: [PollSemaphore; 2],
    piece: Box<[u8]>,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, meter: Arc<Meter>) -> Self {
        let queues = [&MEDIUM_ANSWERS, &LARGE_ANSWERS].map(|answers| PollSemaphore::new(Arc::clone(answers)));
        Self { stream, meter, queues, piece: vec![0; 16 << 10].into() }
    }

    /// Waits until an answer of this size may be read.
    fn poll_permits(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let held = {
                let count = self.meter.lock();
                if count.permits.len() >= count.needed() {
                    return Poll::Ready(());
                }
                count.permits.len()
            };
            match ready!(self.queues[held].poll_acquire(context)) {
                Some(permit) => self.meter.lock().permits.push(permit),
                // It is never closed.
                None => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_permits(context));
        let length = this.piece.len().min(into.remaining());
        let mut piece = ReadBuf::new(&mut this.piece[..length]);
        ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece))?;
        this.meter.take_in(piece.filled())?;
        into.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_answer_beyond_the_limit_breaks_the_connection_and_a_new_question_counts_anew() {
        let limits = ReplyLimits { bytes: 100, ..ReplyLimits::default() };
        let (mut server, client) = tokio::io::duplex(1 << 16);
        let total = Arc::new(AtomicU64::new(0));
        let meter = Meter::new(limits, total.clone());
        let mut client = Metered::new(client, meter.clone());
        let mut piece = [0; 60];
        for _ in 0..3 {
            let _round_trip = meter.begin("PING");
            server.write_all(&[b':'; 60]).await.unwrap();
            client.read_exact(&mut piece).await.unwrap();
        }
        assert_eq!(meter.excess(), None);
        assert!((180..2 * 180 * 64).contains(&total.load(Ordering::Relaxed)), "{total:?}");
        server.write_all(&[b'1'; 60]).await.unwrap();
        let error = client.read_exact(&mut piece).await.unwrap_err();
        assert_eq!(error.to_string(), "answered PING with more than 100 bytes");
        assert_eq!(meter.excess().unwrap(), error.to_string());
    }

    #[tokio::test]
    async fn large_answers_wait_for_each_other_and_small_ones_do_not() {
        let mut held = Vec::new();
        // A text that costs more than a middle-sized answer may.
        let text = format!("${}\r\n{}", MEDIUM.0, "x".repeat(MEDIUM.0)).into_bytes();
        for number in 0..=LARGE {
            let (mut server, client) = tokio::io::duplex(2 << 20);
            let mut client = Metered::new(client, Meter::new(ReplyLimits::default(), Arc::default()));
            let text = text.clone();
            server.write_all(&text).await.unwrap();
            server.write_all(b"\r\n+PONG\r\n").await.unwrap();
            let mut answer = vec![0; text.len() + 9];
            let read = tokio::time::timeout(std::time::Duration::from_millis(300), client.read_exact(&mut answer));
            assert_eq!(read.await.is_ok(), number < LARGE, "{number}");
            held.push((server, client));
        }
        let (mut server, client) = tokio::io::duplex(1 << 10);
        let mut client = Metered::new(client, Meter::new(ReplyLimits::default(), Arc::default()));
        server.write_all(b"+PONG\r\n").await.unwrap();
        client.read_exact(&mut [0; 7]).await.unwrap();
        held.clear();
    }
}
