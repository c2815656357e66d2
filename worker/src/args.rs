//! The command line and the environment: where the config file is, and what must not stand in it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

const AFTER_HELP: &str = "\
A complete config file (the shape of a JobQueue manifest's spec, without URLs and scaling):

  name: companies
  queue:
    protocol: RQ                  # RQ | List | Stream
    names: [urgent, companies]    # served in this order, unless `order` is RoundRobin or Random
    leaseSeconds: 30              # a crashed worker's jobs run again after this time
  ingest:
    - functions: [ParseCompany.parse_company]
      record: job.args[0]
      tables:
        - table: company_regist_info
          columns: {name: record.Company.Name, founded_date: date(record.Company.StartDate)}
          children:
            - table: stockholder
              forEach: record.Company.Partners
              columns: {company_id: parent.id, stock_name: item.StockName}
  retry: {maxAttempts: 5, backoffSeconds: 1, maxBackoffSeconds: 300}
  worker: {concurrency: 4, batchSize: 200, drainSeconds: 60}
  database: {maxConnections: 50, holdSeconds: 60, ledgerRetentionDays: 7, timeZone: UTC}

Signals: SIGTERM or SIGINT drains (claims nothing more, finishes what is in hand within drainSeconds, gives back the
rest, exits 0); a second one gives back at once.

Exit codes: 0 stopped as asked, after maxJobs or maxIdleSeconds, or --check found nothing; 1 a fault in this program; 2 wrong usage; 69 --check could not
reach Redis or the database; 78 the config file, a URL or the recipe is wrong. A running worker does not exit because
Redis or the database is away: it waits, and /readyz says so.

Traces of jobs are sent to a collector of OpenTelemetry if OTEL_EXPORTER_OTLP_ENDPOINT is set (OTLP over HTTP).";

/// Takes jobs from a Redis queue and writes them to a SQL database as rows, exactly once.
#[derive(Debug, Parser)]
#[command(name = "jobqueue-worker", version, after_help = AFTER_HELP, max_term_width = 120)]
pub(crate) struct Args {
    /// The config file (YAML or JSON)
    #[arg(long, short, env = "JOBQUEUE_CONFIG", value_name = "PATH")]
    pub(crate) config: PathBuf,

    /// Version of a config file that a program rendered: fields that this worker does not know are then warnings
    #[arg(long, env = "JOBQUEUE_CONFIG_VERSION", value_name = "NUMBER")]
    pub(crate) config_version: Option<u32>,

    /// Check the config, the recipe against the database, and Redis; print what is wrong and exit
    #[arg(long)]
    pub(crate) check: bool,

    /// Wait for tables that the recipe needs and the database does not have yet, instead of exiting with code 78
    #[arg(long, env = "JOBQUEUE_WAIT_FOR_TABLES", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) wait_for_tables: bool,

    /// redis://, rediss://, redis+sentinel://, redis+cluster:// or `unix:///SOCKET`
    #[arg(long, env = "JOBQUEUE_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) redis_url: String,

    /// postgres://, mysql:// or sqlite:PATH
    #[arg(long, env = "JOBQUEUE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: String,

    /// File with the password for Redis, read for each connection: a token that another program renews
    #[arg(long, env = "JOBQUEUE_REDIS_PASSWORD_FILE", value_name = "PATH")]
    pub(crate) redis_password_file: Option<PathBuf>,

    /// File with the password for the database, read before connections are made
    #[arg(long, env = "JOBQUEUE_DATABASE_PASSWORD_FILE", value_name = "PATH")]
    pub(crate) database_password_file: Option<PathBuf>,

    /// Certificate authority for rediss:// (PEM); omitted: the system's
    #[arg(long, env = "JOBQUEUE_REDIS_CA", value_name = "PATH")]
    pub(crate) redis_ca: Option<PathBuf>,

    /// Client certificate for rediss:// (PEM)
    #[arg(long, env = "JOBQUEUE_REDIS_CERT", value_name = "PATH", requires = "redis_key")]
    pub(crate) redis_cert: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long, env = "JOBQUEUE_REDIS_KEY", value_name = "PATH", requires = "redis_cert")]
    pub(crate) redis_key: Option<PathBuf>,

    /// Certificate authority for the database (PEM); the server's certificate is checked in full, unless the URL says how
    #[arg(long, env = "JOBQUEUE_DATABASE_CA", value_name = "PATH")]
    pub(crate) database_ca: Option<PathBuf>,

    /// Client certificate for the database (PEM)
    #[arg(long, env = "JOBQUEUE_DATABASE_CERT", value_name = "PATH", requires = "database_key")]
    pub(crate) database_cert: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long, env = "JOBQUEUE_DATABASE_KEY", value_name = "PATH", requires = "database_cert")]
    pub(crate) database_key: Option<PathBuf>,

    /// Drain and exit 0 after so many jobs; wins over `worker.maxJobs`
    #[arg(long, env = "JOBQUEUE_MAX_JOBS", value_name = "JOBS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_jobs: Option<u64>,

    /// Exit 0 after so many seconds without a job; wins over `worker.maxIdleSeconds`
    #[arg(long, env = "JOBQUEUE_MAX_IDLE_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_idle_seconds: Option<u64>,

    /// Name of this worker; a suffix makes it unique per start [default: `POD_NAME`, else the host's name]
    #[arg(long, env = "JOBQUEUE_WORKER_NAME", value_name = "NAME")]
    pub(crate) worker_name: Option<String>,

    /// Address of /healthz, /readyz and /metrics; `[::]` takes IPv4 too, and is 0.0.0.0 where there is no IPv6; port 0: a
    /// free one (the log says which); empty: none
    #[arg(long, env = "JOBQUEUE_LISTEN", value_name = "ADDRESS", default_value = "[::]:9090", value_parser = listen)]
    pub(crate) listen: Listen,

    /// What to log: a level, or directives like `info,jobqueue_worker=debug`
    #[arg(long, env = "JOBQUEUE_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,

    /// How to log, on stderr
    #[arg(long, env = "JOBQUEUE_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub(crate) log_format: LogFormat,
}

/// An address, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Text,
}

fn listen(text: &str) -> Result<Listen, String> {
    if text.is_empty() {
        return Ok(Listen(None));
    }
    let address = text.parse().map_err(|_| format!("{text:?} is no address like [::]:9090"))?;
    Ok(Listen(Some(address)))
}

impl Args {
    /// A name that no other start of any worker has: a restart is never refused because of its predecessor's record.
    pub(crate) fn unique_name(&self) -> String {
        let given = self.worker_name.clone();
        let pod = || std::env::var("POD_NAME").ok();
        let host = || std::env::var("HOSTNAME").ok();
        let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let named = |name: String| Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        let base = [given, pod(), host(), kernel()].into_iter().flatten().find_map(named);
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        format!("{}-{}", base.as_deref().unwrap_or("worker"), &suffix[..8])
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_file_shown_by_help_is_valid() {
        let indented = AFTER_HELP.split_once("\n\n").unwrap().1.split("\n\nSignals").next().unwrap();
        jobqueue_worker::config::parse(indented, "help").unwrap();
    }

    #[test]
    fn an_empty_address_means_none() {
        assert!(listen("").unwrap().0.is_none());
        assert_eq!(listen("127.0.0.1:0").unwrap().0.unwrap().port(), 0);
        assert!(listen("9090").is_err());
    }
}
