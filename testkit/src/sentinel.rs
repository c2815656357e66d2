//! A Sentinel of a test's own.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Redis, free_port, redis_server, until};

/// A running Sentinel; it ends with the test.
#[derive(Debug)]
pub struct Sentinel {
    process: Child,
    port: u16,
    address: String,
    _directory: TempDir,
}

impl Sentinel {
    /// Follows `mymaster`, which has a replica; all of them ask for the same password.
    pub fn start(master: &Redis, password: &str) -> Self {
        Self::start_at("127.0.0.1", master, password)
    }

    /// The same at an address, by which it knows the master too.
    pub fn start_at(address: &str, master: &Redis, password: &str) -> Self {
        let (directory, port) = (TempDir::new().expect("a temporary directory"), free_port());
        let config = directory.path().join("sentinel.conf");
        let (target, directory_name) = (master.port(), directory.path().display());
        let text = format!(
            "port {port}\nbind {address}\ndir {directory_name}\nsentinel monitor mymaster {address} {target} 1\n\
             sentinel auth-pass mymaster {password}\nrequirepass {password}\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        );
        std::fs::write(&config, text).expect("its configuration is written");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", &redis_server()]).arg(config).arg("--sentinel");
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a Sentinel starts");
        let sentinel = Self { process, port, address: address.to_owned(), _directory: directory };
        let replicas = || sentinel.cli(password, &["SENTINEL", "REPLICAS", "mymaster"]);
        until("the Sentinel knows the replica", Duration::from_secs(30), || replicas().contains("flags\nslave\n"));
        sentinel
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn cli(&self, password: &str, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let login = ["-h", &self.address, "-p", &port, "-a", password];
        let output = Command::new("redis-cli").args(login).args(arguments).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
