//! A MariaDB server on a free port.

use std::{process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    process::{Server, free_port, hand_over, run, until},
    unique,
};

const ACCOUNT: &str = "mysql";

/// A running MariaDB with durable commits; user `jobqueue`, password `warehouse`, all rights.
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
    port: u16,
    directory: TempDir,
}

impl MariaDb {
    /// Initialises a data directory and starts a server on it.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        hand_over(directory.path(), ACCOUNT);
        let data = format!("--datadir={}", directory.path().join("data").display());
        // Several that are made at once may meet in one temporary directory.
        let temporary = format!("--tmpdir={}", directory.path().display());
        let method = "--auth-root-authentication-method=normal".into();
        let install = ["--no-defaults".into(), data, temporary, "--skip-test-db".into(), method];
        run(Some(ACCOUNT), "mariadb-install-db", &install);
        let port = free_port();
        let mut mariadb = Self { server: Self::launch(&directory, port), port, directory };
        mariadb.wait();
        mariadb.try_sql(
            "root",
            "",
            "",
            "CREATE USER jobqueue@'%' IDENTIFIED BY 'warehouse'; GRANT ALL ON *.* TO jobqueue@'%' WITH GRANT OPTION",
        )
        .expect("the test account can be created");
        mariadb
    }

    fn launch(directory: &TempDir, port: u16) -> Server {
        let path = directory.path().display();
        let arguments = [
            "--no-defaults".to_owned(),
            format!("--datadir={path}/data"),
            format!("--socket={path}/socket"),
            format!("--pid-file={path}/pid"),
            // A server that starts removes temporary tables, also those of others in a shared directory.
            format!("--tmpdir={path}"),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--innodb-flush-log-at-trx-commit=1".to_owned(),
        ];
        Server::start(Some(ACCOUNT), "mariadbd", &arguments, &directory.path().join("log"))
    }

    fn wait(&mut self) {
        until("MariaDB", Duration::from_secs(60), || {
            assert!(self.server.alive(), "MariaDB ended: {}", self.log());
            self.try_sql("root", "", "", "SELECT 1").is_ok()
        });
    }

    /// Creates an empty database and returns its URL.
    pub fn database(&self) -> String {
        let name = unique("test");
        self.sql("", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://jobqueue:warehouse@127.0.0.1:{}/{database}", self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Runs statements (`database` is a name, a URL, or empty) and returns rows, tabs between columns.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let name = database.rsplit('/').next().unwrap_or_default();
        self.try_sql("jobqueue", "warehouse", name, statements).unwrap_or_else(|error| panic!("{error}: {statements}"))
    }

    fn try_sql(&self, user: &str, password: &str, database: &str, statements: &str) -> Result<String, String> {
        let socket = self.directory.path().join("socket");
        let mut command = Command::new("mariadb");
        command.arg("--no-defaults").arg(format!("--socket={}", socket.display())).arg(format!("--user={user}"));
        command.arg(format!("--password={password}")).args([
            "--default-character-set=utf8mb4",
            "-N",
            "-B",
            "-e",
            statements,
        ]);
        let output = command.arg(database).output().expect("mariadb runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Kills the server (SIGKILL) without starting it again.
    pub fn crash(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port with the same data.
    pub fn revive(&mut self) {
        self.server.kill();
        self.server = Self::launch(&self.directory, self.port);
        self.wait();
    }
}
