//! Where Redis and the database are: what was asked for, or something of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jobqueue_crds::JobQueue;
use jobqueue_ingest::{DatabaseUrl, Recipe, Sink, SinkError, SinkOptions, TimeZone, sink};
use jobqueue_queue::ConnectionUrl;

use super::event::Event;
use super::view::View;
use crate::common::exit::{Exit, Failure, queue_failure};
use crate::common::global_args::GlobalArgs;
use crate::common::private_redis::PrivateRedis;
use crate::common::sink::{sink_failure, time_zone};
use crate::common::state_dir::StateDir;
use crate::common::tls::{TlsFiles, replace_for_database};

/// How long a name server may take.
const LOOKUP: Duration = Duration::from_secs(3);

/// The Redis of this run.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Its URL, with the password.
    pub(crate) url: String,
    /// Where the password is; `None` if it is in the URL, or there is none.
    pub(crate) password_file: Option<PathBuf>,
    /// Certificates for it.
    pub(crate) tls: TlsFiles,
    private: Option<PrivateRedis>,
}

impl Redis {
    /// The command line or the environment first, then the manifest's URL where its host is known, then our own.
    pub(crate) async fn resolve(
        manifest: &JobQueue,
        global: &GlobalArgs,
        state: &StateDir,
        view: &mut View,
    ) -> anyhow::Result<Self> {
        let spec = &manifest.spec.queue.redis;
        let written = spec.url.as_deref();
        let mut given = global.redis.as_deref().filter(|url| !url.is_empty()).map(str::to_owned);
        let mut password_file = None;
        if let (None, Some(url)) = (&given, written) {
            let parsed: ConnectionUrl = parse_redis(url)?;
            match first_unknown(parsed.hosts().into_iter().map(|(host, _)| host)).await {
                None => {
                    global.tls.replace(spec.tls.as_ref())?;
                    given = Some(url.to_owned());
                    // A file of this machine: the workers are processes here.
                    password_file = spec.password_file.as_deref().map(PathBuf::from);
                }
                Some(host) => view.event(&Event::UnknownHost { url: parsed.to_string(), host }),
            }
        }
        let directory = state.redis();
        if let Some(url) = given {
            let shown = parse_redis(&url)?.to_string();
            // `--prepare` exports the URL of our own.
            let private = PrivateRedis::at(&url, &directory);
            let tls = if private.is_some() { TlsFiles::default() } else { global.tls.clone() };
            let directory = private.is_some().then_some(directory);
            view.event(&Event::Redis { url: shown, directory, found: true });
            return Ok(Self { url, password_file, tls, private });
        }
        view.secret("Redis", spec.url_secret_key_ref.as_ref(), "--redis URL");
        let server = PrivateRedis::start(&directory).await?;
        let url = server.url();
        view.event(&Event::Redis { url: url.clone(), directory: Some(directory), found: server.found });
        Ok(Self { url, password_file: None, tls: TlsFiles::default(), private: Some(server) })
    }

    /// Parsed; it was checked before.
    pub(crate) fn parsed(&self) -> anyhow::Result<ConnectionUrl> {
        let url = parse_redis(&self.url)?;
        self.password_file
            .as_deref()
            .map_or(Ok(url.clone()), |file| url.with_password_file(file).map_err(queue_failure))
    }

    /// Starts it again if it is our own and ended; answers whether it did.
    pub(crate) fn revive(&mut self) -> anyhow::Result<bool> {
        self.private.as_mut().map_or(Ok(false), PrivateRedis::revive)
    }

    /// Ends it, if it is our own.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = &mut self.private {
            server.stop().await;
        }
    }
}

fn parse_redis(url: &str) -> anyhow::Result<ConnectionUrl> {
    url.parse().map_err(queue_failure)
}

/// The database of this run.
#[derive(Debug)]
pub(crate) struct Database {
    /// Its URL, with the password.
    pub(crate) text: String,
    /// Where the password is; `None` if it is in the URL, or there is none.
    pub(crate) password_file: Option<PathBuf>,
    url: DatabaseUrl,
    time_zone: Option<TimeZone>,
}

impl Database {
    /// The command line or the environment first, then the manifest's URL where its host is known, then an SQLite file.
    pub(crate) async fn resolve(
        manifest: &JobQueue,
        global: &GlobalArgs,
        state: &StateDir,
        view: &mut View,
    ) -> anyhow::Result<Self> {
        let spec = manifest.spec.database.as_ref();
        let written = spec.and_then(|database| database.url.as_deref());
        let mut given = global.database.as_deref().filter(|url| !url.is_empty()).map(str::to_owned);
        let mut password_file = None;
        if let (None, Some(text)) = (&given, written) {
            let url = parse_database(text)?;
            match first_unknown(url.host().map(str::to_owned).into_iter()).await {
                None => {
                    replace_for_database(spec.and_then(|database| database.tls.as_ref()))?;
                    given = Some(text.to_owned());
                    password_file = spec.and_then(|database| database.password_file.as_deref()).map(PathBuf::from);
                }
                Some(host) => view.event(&Event::UnknownHost { url: url.to_string(), host }),
            }
        }
        if given.is_none() {
            view.secret("the database", spec.and_then(|spec| spec.url_secret_key_ref.as_ref()), "--database URL");
        }
        let text = given.unwrap_or_else(|| format!("sqlite:{}?mode=rwc", state.sqlite().display()));
        let mut url = parse_database(&text)?;
        if let Some(file) = &password_file {
            url = url.with_password_file(file).map_err(sink_failure)?;
        }
        view.event(&Event::Database { url: url.to_string() });
        Ok(Self { text, password_file, url, time_zone: time_zone(manifest)? })
    }

    /// Makes sure that the recipe fits: where it does not, runs the DDL of `schema` once.
    pub(crate) async fn prepare(&self, recipe: &Recipe, schema: Option<&Path>, view: &mut View) -> anyhow::Result<()> {
        let first = match self.check(recipe).await {
            Ok(problems) => problems,
            // A file that does not exist yet is made by the DDL.
            Err(error) if schema.is_none() || self.url.host().is_some() => return Err(self.unusable(error)),
            Err(error) => vec![error.to_string()],
        };
        let mut problems = first;
        if let (false, Some(path)) = (problems.is_empty(), schema) {
            let script =
                std::fs::read_to_string(path).with_context(|| format!("cannot read the schema {}", path.display()))?;
            sink::run_script(&self.url, &script).await.map_err(sink_failure)?;
            view.event(&Event::Schema { path: path.to_path_buf() });
            problems = self.check(recipe).await.map_err(sink_failure)?;
        }
        if problems.is_empty() {
            let warnings = self.open().await.map_err(sink_failure)?.warnings(recipe).await.map_err(sink_failure)?;
            for warning in warnings {
                view.event(&Event::Recipe { warning: warning.to_string() });
            }
            return Ok(());
        }
        let list: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        let message = format!("the recipe does not fit the database {}:{}", self.url, list.concat());
        let hint =
            if schema.is_some() { "correct the schema or the recipe" } else { "pass its DDL with --schema FILE" };
        Err(Failure::new(Exit::Usage, message).hint(hint).into())
    }

    /// A file that is missing from a directory that is there can be made here.
    fn unusable(&self, error: SinkError) -> anyhow::Error {
        let file = self.url.file().and_then(|path| std::path::absolute(path).ok());
        if !file.is_some_and(|file| !file.exists() && file.parent().is_some_and(Path::is_dir)) {
            return sink_failure(error);
        }
        let hint = "pass the tables' DDL with --schema FILE: the file is made with them";
        Failure::new(Exit::from(&error), error.to_string()).hint(hint).into()
    }

    async fn check(&self, recipe: &Recipe) -> Result<Vec<String>, SinkError> {
        let problems = self.open().await?.validate(recipe).await?.err().unwrap_or_default();
        Ok(problems.iter().map(ToString::to_string).collect())
    }

    /// A connection, for looks and counts.
    pub(crate) async fn open(&self) -> Result<Box<dyn Sink>, SinkError> {
        sink::connect(
            &self.url,
            SinkOptions { max_connections: 1, time_zone: self.time_zone, ..SinkOptions::default() },
        )
        .await
    }
}

fn parse_database(text: &str) -> anyhow::Result<DatabaseUrl> {
    text.parse().map_err(sink_failure)
}

/// The first host without an address here.
async fn first_unknown(hosts: impl Iterator<Item = String>) -> Option<String> {
    for host in hosts {
        let lookup = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), 0)));
        let is_known = lookup.await.is_ok_and(|addresses| addresses.is_ok());
        if !is_known {
            return Some(host);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_hosts_that_have_an_address_are_known() {
        let hosts = ["127.0.0.1", "localhost", "no-such-host.invalid"].map(str::to_owned);
        assert_eq!(first_unknown(hosts.into_iter()).await.as_deref(), Some("no-such-host.invalid"));
        assert_eq!(first_unknown(std::iter::once("::1".to_owned())).await, None);
    }
}
