//! A database with several servers, of which one takes writes: which one is asked when the first connection is made, and
//! again after each failure. With one server it is a pool of connections and nothing more.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Connection as _, Database, Pool, pool::PoolOptions};
use tokio::task::JoinSet;

use super::{failure::Failure, url::Target};

/// How long one server may take to answer.
const ANSWER: Duration = Duration::from_secs(4);

/// So much later the next server is asked too: the order of the URL holds, and a server that is silent costs no more
/// than this.
const NEXT: Duration = Duration::from_millis(250);

type Options<DB> = <<DB as Database>::Connection as sqlx::Connection>::Options;

/// What differs between databases.
#[async_trait]
pub(super) trait ServerKind: Database {
    fn classify(error: &sqlx::Error) -> Failure;

    /// The same options with another password.
    fn with_password(options: Options<Self>, password: &str) -> Options<Self>;

    /// Why this server takes no writes; `None` if it does.
    async fn takes_none(connection: &mut Self::Connection, target: Target) -> Result<Option<String>, sqlx::Error>;
}

/// One server.
pub(super) struct Host<DB: Database> {
    /// Host and port, for messages.
    pub(super) address: String,
    pub(super) options: Options<DB>,
}

impl<DB: Database> Clone for Host<DB>
where
    Options<DB>: Clone,
{
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), options: self.options.clone() }
    }
}

/// The servers, and connections to the one in use.
pub(super) struct Hosts<DB: Database> {
    choices: Vec<Host<DB>>,
    /// Where the password is, if it is in a file.
    password_file: Option<PathBuf>,
    /// The place of the server in use.
    place: AtomicUsize,
    /// What a server is asked before it is used; `None` where there is one server, which is taken as it is.
    target: Option<Target>,
    pool_options: PoolOptions<DB>,
    pool: Mutex<Pool<DB>>,
    /// The server in use may be the wrong one, or its connections may be.
    doubt: AtomicBool,
    seeking: tokio::sync::Mutex<()>,
}

/// Somebody waits for the server in use: if nobody comes back to say how that went, it is in doubt.
struct Watch<'a>(Option<&'a AtomicBool>);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(doubt) = self.0 {
            doubt.store(true, Ordering::Release);
        }
    }
}

/// An IPv6 address without the brackets of a URL, which the driver leaves there: a certificate has none. Any other host as it
/// is.
pub(super) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The servers with the password that a file has now; as they are without a file.
pub(super) fn with_password<DB: ServerKind>(
    hosts: Vec<Host<DB>>,
    file: Option<&Path>,
) -> Result<Vec<Host<DB>>, Failure> {
    let Some(file) = file else { return Ok(hosts) };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Away(format!("the password file {} cannot be read: {error}", file.display())))?;
    // A trailing line break is what editors and `echo` leave.
    let with = |host: Host<DB>| Host { options: DB::with_password(host.options, text.trim()), ..host };
    Ok(hosts.into_iter().map(with).collect())
}

impl<DB: ServerKind> Hosts<DB>
where
    Options<DB>: Clone,
{
    /// `hosts` are not empty. Nothing is asked yet.
    pub(super) fn new(hosts: Vec<Host<DB>>, target: Option<Target>, pool_options: PoolOptions<DB>) -> Self {
        let pool = pool_options.clone().connect_lazy_with(hosts[0].options.clone());
        let doubt = AtomicBool::new(target.is_some());
        Self {
            choices: hosts,
            password_file: None,
            place: AtomicUsize::new(0),
            target,
            pool_options,
            pool: Mutex::new(pool),
            doubt,
            seeking: tokio::sync::Mutex::new(()),
        }
    }

    /// The same with the password in a file.
    pub(super) fn with_password_file(mut self, file: Option<&Path>) -> Self {
        self.password_file = file.map(Path::to_owned);
        self
    }

    /// The servers, with the password as it is now.
    fn choices(&self) -> Result<Vec<Host<DB>>, Failure> {
        with_password(self.choices.clone(), self.password_file.as_deref())
    }

    /// To be told of each failure of the server in use.
    pub(super) fn failed(&self, failure: &Failure) {
        let doubted = match failure {
            // A session keeps what was the default when it began, as that it is read-only: others are needed.
            Failure::Unwritable(_) | Failure::ReadOnly(_) | Failure::Full(_) => true,
            Failure::Away(_)
            | Failure::Broken(_)
            | Failure::Failing(_)
            | Failure::Forbidden(_)
            | Failure::Denied(_) => self.target.is_some(),
            _ => false,
        };
        if doubted {
            self.doubt.store(true, Ordering::Release);
        }
    }

    /// Connections to a server that takes writes, as far as is known.
    pub(super) async fn pool(&self) -> Result<Pool<DB>, Failure> {
        if self.doubt.load(Ordering::Acquire) {
            let _alone = self.seeking.lock().await;
            if self.doubt.load(Ordering::Acquire) {
                let place = if self.target.is_some() { self.find().await? } else { 0 };
                self.turn_to(self.choices[place].options.clone());
                self.place.store(place, Ordering::Release);
                self.doubt.store(false, Ordering::Release);
            }
        }
        if self.password_file.is_some() {
            // For the connections that the pool makes from now on.
            let options = self.choices()?.swap_remove(self.place.load(Ordering::Acquire)).options;
            self.pool.lock().unwrap_or_else(PoisonError::into_inner).set_connect_options(options);
        }
        Ok(self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn turn_to(&self, options: Options<DB>) {
        let pool = self.pool_options.clone().connect_lazy_with(options);
        let before = std::mem::replace(&mut *self.pool.lock().unwrap_or_else(PoisonError::into_inner), pool);
        // Whoever is in a transaction there brings it to its end.
        tokio::spawn(async move { before.close().await });
    }

    /// Does something with the server in use that may never end.
    pub(super) async fn watched<T>(&self, doing: impl Future<Output = T>) -> T {
        let mut watch = Watch(self.target.map(|_| &self.doubt));
        let done = doing.await;
        watch.0 = None;
        done
    }

    /// Whether a new connection can be made, to a server that takes writes; if not, why.
    pub(super) async fn diagnose(&self) -> Result<(), Failure> {
        self.find().await.map(drop)
    }

    /// The place of the first server that takes writes.
    async fn find(&self) -> Result<usize, Failure> {
        let (place, connection) = seek(&self.choices()?, self.target).await?;
        connection.close().await.map_err(|error| DB::classify(&error))?;
        Ok(place)
    }
}

/// A connection to the first server that takes writes, and the place of that server.
pub(super) async fn seek<DB: ServerKind>(
    hosts: &[Host<DB>],
    target: Option<Target>,
) -> Result<(usize, DB::Connection), Failure>
where
    Options<DB>: Clone,
{
    if let [only] = hosts {
        return reach(only, target).await.map(|connection| (0, connection));
    }
    let mut asked = JoinSet::new();
    for (place, host) in hosts.iter().cloned().enumerate() {
        asked.spawn(async move {
            tokio::time::sleep(NEXT * u32::try_from(place).unwrap_or(u32::MAX)).await;
            (place, reach(&host, target).await)
        });
    }
    let mut failures = vec![None; hosts.len()];
    while let Some(Ok((place, answer))) = asked.join_next().await {
        match answer {
            Ok(connection) => return Ok((place, connection)),
            Err(failure) => failures[place] = Some(failure),
        }
    }
    let addresses = hosts.iter().map(|host| host.address.as_str());
    Err(all_of(addresses.zip(failures).filter_map(|(address, failure)| Some((address, failure?)))))
}

/// Makes a connection to a server, and asks it what is wanted.
async fn reach<DB: ServerKind>(host: &Host<DB>, target: Option<Target>) -> Result<DB::Connection, Failure> {
    let ask = async {
        let mut connection = DB::Connection::connect_with(&host.options).await?;
        let none = match target {
            Some(target) => DB::takes_none(&mut connection, target).await?,
            None => None,
        };
        Ok((connection, none))
    };
    let silent = || Failure::Away(format!("no answer within {} s", ANSWER.as_secs()));
    let answer = tokio::time::timeout(ANSWER, ask).await.map_err(|_| silent())?;
    match answer.map_err(|error: sqlx::Error| DB::classify(&error))? {
        (connection, None) => Ok(connection),
        (_, Some(words)) => Err(Failure::Unwritable(words)),
    }
}

/// One failure of all servers: read-only if one of them answered that, denied if none was of any other opinion.
fn all_of<'a>(failures: impl Iterator<Item = (&'a str, Failure)>) -> Failure {
    let (mut words, mut unwritable, mut denied) = (Vec::new(), false, true);
    for (address, failure) in failures {
        unwritable |= matches!(failure, Failure::Unwritable(_) | Failure::ReadOnly(_));
        denied &= matches!(failure, Failure::Denied(_));
        words.push(format!("{address}: {}", failure.into_words()));
    }
    let words = words.join("; ");
    match (unwritable, denied) {
        (true, _) => Failure::Unwritable(words),
        (false, true) => Failure::Denied(words),
        (false, false) => Failure::Away(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_all_servers_names_each_of_them() {
        let away = || Failure::Away("refused".into());
        let standby = || Failure::Unwritable("it is a standby".into());
        let denied = || Failure::Denied("wrong password".into());
        let all = |first, second| all_of([("db1:5432", first), ("db2", second)].into_iter());
        assert_eq!(all(away(), standby()), Failure::Unwritable("db1:5432: refused; db2: it is a standby".into()));
        assert_eq!(all(denied(), denied()), Failure::Denied("db1:5432: wrong password; db2: wrong password".into()));
        assert_eq!(all(denied(), away()), Failure::Away("db1:5432: wrong password; db2: refused".into()));
    }
}
