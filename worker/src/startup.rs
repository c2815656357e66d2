//! From settings to a worker that may run: connect, check the recipe, register. Servers that are away are waited for; wrong
//! settings end the start, with everything that is wrong in one message.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_ingest::{DatabaseUrl, Recipe, RecipeProblem, Sink, SinkError, SinkOptions, TimeZone};
use jobqueue_queue::{
    Backend, Connection, ConnectionUrl, FaultKind, FaultReporter, QueueConfig, QueueError, Timeouts, TlsOptions,
    WorkerFault,
};

use crate::backoff::Backoff;
use crate::state::fault::database_fault;
use crate::state::instruments::Instruments;

/// Waits between attempts.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// An attempt without an answer for so long is reported.
const SILENCE: Duration = Duration::from_secs(4);

/// Where Redis and the database are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The queue's Redis.
    pub redis: ConnectionUrl,
    /// For `rediss://`.
    pub tls: TlsOptions,
    /// The rows' database.
    pub database: DatabaseUrl,
}

/// Why a start ended. Servers that are away end it only with `--check`.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error("{0}")]
    Config(String),
    /// The recipe is wrong, or does not fit the database.
    #[error("the recipe has {} problem(s):\n{}", .0.len(), list(.0))]
    Recipe(Vec<RecipeProblem>),
    /// Redis is away or refused us.
    #[error(transparent)]
    Redis(QueueError),
    /// The database is away or refused us.
    #[error(transparent)]
    Database(SinkError),
    /// Asked to stop meanwhile.
    #[error("asked to stop during the start")]
    Stopped,
}

/// What a start waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Servers that are away.
    ForServers,
    /// Tables too, which the recipe needs and the database does not have yet.
    ForTables,
}

impl Patience {
    fn covers(self, error: &StartError) -> bool {
        self == Self::ForTables && matches!(error, StartError::Recipe(_))
    }
}

fn list(problems: &[RecipeProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    lines.join("\n")
}

impl StartError {
    /// True where waiting may help.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Redis(_) | Self::Database(_))
    }

    /// What to check on a server that is away or refuses us.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Redis(error) => error.remedy(),
            Self::Database(error) => error.remedy(),
            Self::Config(_) | Self::Recipe(_) | Self::Stopped => None,
        }
    }

    /// What is reported of it; `None` if it does not concern the database.
    fn fault(&self) -> Option<WorkerFault> {
        match self {
            Self::Database(error) => Some(database_fault(error)),
            Self::Recipe(_) => Some(WorkerFault { kind: FaultKind::SchemaMismatch, message: self.to_string() }),
            Self::Config(_) | Self::Redis(_) | Self::Stopped => None,
        }
    }
}

impl From<QueueError> for StartError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Config(words) => Self::Config(words),
            other => Self::Redis(other),
        }
    }
}

impl From<SinkError> for StartError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Config(words) => Self::Config(words),
            other => Self::Database(other),
        }
    }
}

/// A queue of the protocol that `config` says; nothing is sent yet.
pub fn open_queue(addresses: &Addresses, config: QueueConfig) -> Result<Arc<dyn Backend>, QueueError> {
    let connection = Connection::new(&addresses.redis, &addresses.tls, Timeouts::default())?;
    jobqueue_queue::connect(&connection, config)
}

/// Where this worker reports what keeps it from its work; nothing is sent yet.
pub fn open_fault_reporter(addresses: &Addresses, config: &QueueConfig) -> Result<FaultReporter, QueueError> {
    FaultReporter::new(&Connection::new(&addresses.redis, &addresses.tls, Timeouts::default())?, config)
}

/// Asks Redis whether it is there and lets us in.
pub async fn ping_queue(addresses: &Addresses) -> Result<(), StartError> {
    Ok(Connection::new(&addresses.redis, &addresses.tls, Timeouts::default())?.ping().await?)
}

/// Opens the database in a time zone and checks the recipe against it.
pub async fn open_database(
    addresses: &Addresses,
    recipe: &Recipe,
    max_connections: u32,
    time_zone: Option<TimeZone>,
) -> Result<Arc<dyn Sink>, StartError> {
    let options = SinkOptions { max_connections, time_zone, ..SinkOptions::default() };
    let sink: Arc<dyn Sink> = Arc::from(jobqueue_ingest::connect(&addresses.database, options).await?);
    sink.validate(recipe).await?.map_err(StartError::Recipe)?;
    for warning in sink.warnings(recipe).await? {
        tracing::warn!("{warning}");
    }
    Ok(sink)
}

/// Repeats `attempt` until it succeeds, fails for good, or the worker is asked to stop. Logs each cause once. With
/// [`Patience::ForTables`] a recipe that does not fit the tables is no failure for good: they may be about to be created.
pub async fn persist<T, F>(
    instruments: &Instruments,
    what: &str,
    patience: Patience,
    attempt: impl Fn() -> F,
) -> Result<T, StartError>
where
    F: Future<Output = Result<T, StartError>>,
{
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut logged = String::new();
    loop {
        instruments.health.beat();
        let answer = tokio::select! {
            biased;
            () = instruments.shutdown.draining() => return Err(StartError::Stopped),
            answer = reporting_silence(instruments, what, attempt()) => answer,
        };
        match answer {
            Err(error) if error.may_pass() || patience.covers(&error) => {
                instruments.circuit_breaker.set_fault(error.fault());
                let words = error.to_string();
                if words != logged {
                    tracing::warn!(error = words, hint = error.remedy(), "{what}: not possible yet; trying again");
                    logged = words;
                }
            }
            answer => {
                instruments.circuit_breaker.set_fault(None);
                return answer;
            }
        }
        tokio::select! {
            () = instruments.shutdown.draining() => {}
            () = tokio::time::sleep(backoff.next(rand::random())) => {}
        }
    }
}

/// The answer; a long silence is reported meanwhile.
async fn reporting_silence<T>(instruments: &Instruments, what: &str, answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(SILENCE, &mut answer).await {
        return answer;
    }
    if instruments.circuit_breaker.fault().is_none() {
        let message = format!("{what} has not answered for {} s", SILENCE.as_secs());
        instruments.circuit_breaker.set_fault(Some(WorkerFault { kind: FaultKind::Unavailable, message }));
    }
    answer.await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::state::health::Health;
    use crate::state::shutdown::Shutdown;

    fn instruments() -> Instruments {
        Instruments::new(Health::new(Duration::from_secs(10)), Shutdown::new(Duration::from_secs(1)))
    }

    fn away() -> StartError {
        SinkError::Unavailable { endpoint: "db".into(), cause: "refused".into() }.into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_away_is_waited_for() {
        let instruments = instruments();
        let left = Cell::new(20);
        let answer = persist(&instruments, "the database", Patience::ForServers, || {
            left.set(left.get() - 1);
            let gone = left.get() > 0;
            async move { if gone { Err(away()) } else { Ok(7) } }
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert!(instruments.health.is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_ends_the_start() {
        let problem = RecipeProblem { path: "ingest[0]".into(), message: "no such table".into() };
        let instruments = instruments();
        let answer = persist(&instruments, "the database", Patience::ForServers, || {
            let problems = vec![problem.clone(), problem.clone()];
            async move { Err::<(), _>(StartError::Recipe(problems)) }
        });
        let words = answer.await.unwrap_err().to_string();
        assert_eq!(words, "the recipe has 2 problem(s):\n  ingest[0]: no such table\n  ingest[0]: no such table");
    }

    #[tokio::test(start_paused = true)]
    async fn tables_are_waited_for_if_asked_and_reported_missing() {
        let instruments = instruments();
        let left = Cell::new(3);
        let answer = persist(&instruments, "the database", Patience::ForTables, || {
            if left.get() < 3 {
                assert_eq!(
                    instruments.circuit_breaker.fault().map(|fault| fault.kind),
                    Some(FaultKind::SchemaMismatch)
                );
            }
            left.set(left.get() - 1);
            let missing = left.get() > 0;
            let problem = RecipeProblem { path: "ingest[0]".into(), message: "no such table".into() };
            async move { if missing { Err(StartError::Recipe(vec![problem])) } else { Ok(7) } }
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert_eq!(instruments.circuit_breaker.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_does_not_answer_is_reported() {
        let instruments = instruments();
        let answer = persist(&instruments, "the database", Patience::ForServers, || async {
            tokio::time::sleep(SILENCE * 2).await;
            let fault = instruments.circuit_breaker.fault().expect("reported meanwhile");
            assert_eq!(fault.message, "the database has not answered for 4 s");
            Ok(7)
        });
        assert_eq!(answer.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting() {
        let instruments = instruments();
        instruments.shutdown.request();
        let answer =
            persist(&instruments, "the database", Patience::ForServers, || async { Err::<(), _>(away()) }).await;
        assert!(matches!(answer, Err(StartError::Stopped)));
    }
}
