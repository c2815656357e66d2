//! A PostgreSQL cluster on a free port.

use std::{path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    process::{Server, free_port, hand_over, run, until},
    unique,
};

const ACCOUNT: &str = "postgres";

/// A running PostgreSQL with durable commits and trusted local connections, user `postgres`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
    directory: TempDir,
}

/// Debian keeps the programs out of the PATH, by version.
fn program(name: &str) -> String {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    found.pop().map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

impl Postgres {
    /// Initialises a cluster and starts it.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        hand_over(directory.path(), ACCOUNT);
        let data = directory.path().join("data").display().to_string();
        let initdb = ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"];
        run(Some(ACCOUNT), &program("initdb"), &initdb.map(Into::into));
        let port = free_port();
        let mut postgres = Self { server: Self::launch(&directory, port), port, directory };
        postgres.wait();
        postgres
    }

    /// A streaming standby of this server, which has to be its only one.
    #[must_use]
    pub fn standby(&self) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        hand_over(directory.path(), ACCOUNT);
        let (data, port) = (directory.path().join("data").display().to_string(), self.port.to_string());
        let copy = ["-D", &data, "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-R", "-c", "fast", "--no-sync"];
        run(Some(ACCOUNT), &program("pg_basebackup"), &copy.map(Into::into));
        let port = free_port();
        let mut standby = Self { server: Self::launch(&directory, port), port, directory };
        standby.wait();
        standby
    }

    /// Lets no transaction count as committed before a standby has it.
    pub fn replicate_synchronously(&self) {
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("postgres", "SELECT pg_reload_conf()");
        until("a synchronous standby", Duration::from_secs(30), || {
            self.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
        });
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote()"), "t", "{}", self.log());
    }

    fn launch(directory: &TempDir, port: u16) -> Server {
        let data = directory.path().join("data").display().to_string();
        let socket = directory.path().display().to_string();
        let arguments = ["-D", &data, "-p", &port.to_string(), "-h", "127.0.0.1", "-k", &socket].map(Into::into);
        Server::start(Some(ACCOUNT), &program("postgres"), &arguments, &directory.path().join("log"))
    }

    fn wait(&mut self) {
        until("PostgreSQL", Duration::from_secs(60), || {
            assert!(self.server.alive(), "PostgreSQL ended: {}", self.log());
            self.try_sql("postgres", "SELECT 1").is_ok()
        });
    }

    /// Creates an empty database and returns its URL.
    pub fn database(&self) -> String {
        let name = unique("test");
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Runs statements with `psql` (`database` is a name or a URL) and returns unaligned rows, `|` between columns.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        self.try_sql(database, statements).unwrap_or_else(|error| panic!("{error}: {statements}"))
    }

    fn try_sql(&self, database: &str, statements: &str) -> Result<String, String> {
        let database = if database.contains("://") { database.to_owned() } else { self.url(database) };
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &database, "-c", statements])
            .output()
            .expect("psql runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Stops the server at once (SIGQUIT, like a crash) without starting it again.
    pub fn crash(&mut self) {
        self.server.stop("QUIT");
    }

    /// Starts it again on the same port with the same data.
    pub fn revive(&mut self) {
        self.server.stop("QUIT");
        self.server = Self::launch(&self.directory, self.port);
        self.wait();
    }
}
