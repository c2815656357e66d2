//! A PgBouncer on a free port, before a PostgreSQL of [`crate::Postgres`].

use std::{net::TcpStream, time::Duration};

use tempfile::TempDir;

use crate::{
    Postgres,
    process::{Server, free_port, hand_over, until},
};

/// It refuses to run as root, and any account will do.
const ACCOUNT: &str = "postgres";

/// A running PgBouncer that lets everybody in, with few connections to each database.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    port: u16,
    directory: TempDir,
}

impl PgBouncer {
    /// Starts one with that `pool_mode`.
    pub fn start(postgres: &Postgres, pool_mode: &str) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let (port, file) = (free_port(), directory.path().join("pgbouncer.ini"));
        // In session mode every client has one to itself.
        let connections = if pool_mode == "session" { 20 } else { 2 };
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = {connections}\n",
            postgres.port()
        );
        std::fs::write(&file, settings).expect("its settings can be written");
        hand_over(directory.path(), ACCOUNT);
        let arguments = [file.display().to_string()];
        let server = Server::start(Some(ACCOUNT), "pgbouncer", &arguments, &directory.path().join("log"));
        let mut pooler = Self { server, port, directory };
        until("PgBouncer", Duration::from_secs(30), || {
            assert!(pooler.server.alive(), "PgBouncer ended: {}", pooler.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        pooler
    }

    /// The URL of a database of the server behind it, of which `url` is the direct one.
    pub fn url(&self, url: &str) -> String {
        let database = url.rsplit('/').next().unwrap_or_default();
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}
