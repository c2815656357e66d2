//! A `redis-server` on a free port: the one in PATH, or what `JOBQUEUE_REDIS_SERVER` names.

use std::{process::Command, time::Duration};

use tempfile::TempDir;

use crate::process::{Server, free_port, until};

/// The program to start.
pub fn redis_server() -> String {
    std::env::var("JOBQUEUE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// A running `redis-server` with `appendonly yes`, `appendfsync always`, so that a restart loses nothing.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Redis {
    /// Starts a server; `extra` are further arguments, e.g. `["--requirepass", "secret"]`.
    pub fn start(extra: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let port = free_port();
        let mut arguments: Vec<String> =
            ["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"].map(Into::into).into();
        arguments.push(directory.path().display().to_string());
        arguments.extend(["--appendonly", "yes", "--appendfsync", "always", "--save", ""].map(Into::into));
        arguments.extend(extra.iter().map(ToString::to_string));
        let server = Server::start(None, &redis_server(), &arguments, &directory.path().join("log"));
        let mut redis = Self { server, port, arguments, directory };
        redis.wait();
        redis
    }

    fn wait(&mut self) {
        until("redis-server", Duration::from_secs(20), || {
            assert!(self.server.alive(), "redis-server ended: {}", self.log());
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        until("redis-server has loaded", Duration::from_secs(60), || !self.cli(&["PING"]).contains("LOADING"));
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The directory with the append-only file.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Runs `redis-cli` and returns its output, errors included, without the last line break.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(arguments).output();
        let output = output.expect("redis-cli runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "redis-cli {arguments:?}: {complaint}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// Kills the server (SIGKILL).
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port with the same data.
    pub fn revive(&mut self) {
        self.server.kill();
        self.server = Server::start(None, &redis_server(), &self.arguments, &self.directory.path().join("log"));
        self.wait();
    }
}
