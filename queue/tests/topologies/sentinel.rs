//! A master, a replica and a Sentinel; the master dies.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jobqueue_queue::{Backend, Protocol, QueueConfig, QueueError, RqQueue};
use jobqueue_testkit::{Redis, free_port, redis_server, until};
use tempfile::TempDir;

use crate::{answered, connection, run};

pub(crate) struct Sentinel {
    process: Child,
    pub(crate) port: u16,
    address: String,
    _directory: TempDir,
}

impl Sentinel {
    fn start(master: &Redis, password: &str) -> Self {
        Self::start_at("127.0.0.1", master, password)
    }

    /// One that listens at an address and knows the master by it.
    pub(crate) fn start_at(address: &str, master: &Redis, password: &str) -> Self {
        let (directory, port) = (TempDir::new().unwrap(), free_port());
        let config = directory.path().join("sentinel.conf");
        let (target, directory_name) = (master.port(), directory.path().display());
        let text = format!(
            "port {port}\nbind {address}\ndir {directory_name}\nsentinel monitor mymaster {address} {target} 1\n\
             sentinel auth-pass mymaster {password}\nrequirepass {password}\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", &redis_server()]).arg(config).arg("--sentinel");
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sentinel = Self { process, port, address: address.to_owned(), _directory: directory };
        let replicas = || sentinel.cli(password, &["SENTINEL", "REPLICAS", "mymaster"]);
        until("the Sentinel knows the replica", Duration::from_secs(30), || replicas().contains("flags\nslave\n"));
        sentinel
    }

    fn cli(&self, password: &str, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-h", &self.address, "-p", &port, "-a", password])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn the_new_master_is_found_after_a_failover() {
    let login = ["--requirepass", "s3cret", "--masterauth", "s3cret"];
    let mut master = Redis::start(&login);
    let replica_of = format!("127.0.0.1 {}", master.port());
    let replica = Redis::start(&[&login[..], &["--replicaof", &replica_of]].concat());
    let sentinel = Sentinel::start(&master, "s3cret");
    // The first of the Sentinels is away, and they ask for the password that the data nodes have.
    let url = format!("redis+sentinel://:s3cret@127.0.0.1:{},127.0.0.1:{}/mymaster/0", free_port(), sentinel.port);
    let connection = connection(&url);
    let worker =
        RqQueue::new(connection.clone(), QueueConfig::new(Protocol::Rq, vec!["q".into()], "sentinel-worker")).unwrap();
    worker.register().await.unwrap();
    run(&connection, &["SET", "a", "1"]).await.unwrap();
    assert_eq!(master.cli(&["-a", "s3cret", "GET", "a"]), "1");
    until("the replica has it", Duration::from_secs(10), || replica.cli(&["-a", "s3cret", "GET", "a"]) == "1");
    master.kill();
    assert!(matches!(run(&connection, &["SET", "a", "2"]).await, Err(QueueError::Unavailable { .. })));
    answered(&connection, &["SET", "a", "3"]).await;
    assert_eq!(replica.cli(&["-a", "s3cret", "GET", "a"]), "3");
    worker.heartbeat(&[]).await.unwrap();
}

#[tokio::test]
async fn an_unknown_master_is_a_mistake_in_the_url() {
    let master = Redis::start(&["--requirepass", "s3cret"]);
    let replica_of = format!("127.0.0.1 {}", master.port());
    let _replica = Redis::start(&["--masterauth", "s3cret", "--replicaof", &replica_of]);
    let sentinel = Sentinel::start(&master, "s3cret");
    let url = format!("redis+sentinel://127.0.0.1:{}/other?sentinel_password=s3cret", sentinel.port);
    let error = run(&connection(&url), &["PING"]).await.unwrap_err();
    assert!(matches!(error, QueueError::Config(_)), "{error:?}");
}
