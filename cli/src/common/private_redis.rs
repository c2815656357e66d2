//! A `redis-server` of our own: on the loopback, with an append-only file, found again by the next start.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::common::exit::{Exit, Failure};
use crate::common::state_dir::{default_path, tail};

/// The first port that is tried; the others follow it.
const FIRST_PORT: u16 = 6390;
/// How many ports are tried.
const PORTS: u16 = 100;
/// How long loading the append-only file may take.
const LOADING: Duration = Duration::from_mins(2);
/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(10);
/// How long an answer on the loopback may take.
const ANSWER: Duration = Duration::from_millis(500);
/// Between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(20);

/// A running server in a directory of ours.
#[derive(Debug)]
pub(crate) struct PrivateRedis {
    directory: PathBuf,
    port: u16,
    pid: i32,
    /// If this process started it: to be waited for.
    child: Option<Child>,
    /// Whether it ran already.
    pub(crate) found: bool,
}

impl PrivateRedis {
    /// Finds the server of `directory`, or starts one.
    pub(crate) async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_from(directory, FIRST_PORT).await
    }

    /// The same, on `first_port` or one that follows it.
    async fn start_from(directory: &Path, first_port: u16) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        if let Some(port) = noted_port(directory)
            && let Some(pid) = serves(port, directory)
        {
            return Ok(Self { directory: directory.into(), port, pid, child: None, found: true });
        }
        for port in (first_port..first_port + PORTS).filter(|port| free(*port)) {
            let child = spawn(directory, port)?;
            let pid = i32::try_from(child.id()).context("a process id")?;
            let mut server = Self { directory: directory.into(), port, pid, child: Some(child), found: false };
            match server.wait_until_loaded().await {
                Ok(()) => {
                    std::fs::write(directory.join("port"), port.to_string())?;
                    return Ok(server);
                }
                // Somebody was faster, perhaps another start of ours: the next port.
                Err(_) if !server.runs() && !free(port) => {}
                Err(error) => return Err(error),
            }
        }
        anyhow::bail!("no free port for a private Redis from {first_port} on")
    }

    /// The running server of `directory`, if `url` is its.
    pub(crate) fn at(url: &str, directory: &Path) -> Option<Self> {
        let port = noted_port(directory).filter(|port| self::url(*port) == url)?;
        let pid = serves(port, directory)?;
        Some(Self { directory: directory.into(), port, pid, child: None, found: true })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// SIGTERM: it writes its file and ends.
    pub(crate) async fn stop(&mut self) {
        let pid = Pid::from_raw(self.pid);
        let _ = kill(pid, Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < ENDING && self.runs() {
            sleep(LOOK).await;
        }
    }

    /// Starts it again if it ended; answers whether it did. It loads its file then, which a look at it will tell.
    pub(crate) fn revive(&mut self) -> anyhow::Result<bool> {
        if self.runs() {
            return Ok(false);
        }
        let child = spawn(&self.directory, self.port)?;
        self.pid = i32::try_from(child.id()).context("a process id")?;
        self.child = Some(child);
        Ok(true)
    }

    fn runs(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => kill(Pid::from_raw(self.pid), None).is_ok(),
        }
    }

    async fn wait_until_loaded(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            // Its own process answers: the port may be another's.
            if ask(self.port, "PING").is_some_and(|answer| answer.starts_with("+PONG"))
                && process_of(self.port) == Some(self.pid)
            {
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || start.elapsed() > LOADING {
                let log = tail(&self.directory.join("redis.log"));
                return Err(Failure::new(Exit::Failure, format!("redis-server does not start:\n{log}")).into());
            }
            sleep(LOOK).await;
        }
    }
}

/// The URL of the private Redis that a manifest's `jobqueue local` left running or still uses, if it answers: so that
/// other commands with the same manifest find it.
pub(crate) fn private_redis_url(name: &str, manifest: &Path) -> Option<String> {
    let directory = default_path(name, manifest).join("redis").canonicalize().ok()?;
    let port = noted_port(&directory)?;
    serves(port, &directory).map(|_| url(port))
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/0")
}

fn noted_port(directory: &Path) -> Option<u16> {
    std::fs::read_to_string(directory.join("port")).ok()?.trim().parse().ok()
}

fn free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn spawn(directory: &Path, port: u16) -> anyhow::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(directory);
    command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
    command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile"]);
    command.arg(directory.join("redis.log"));
    // A group of its own: Ctrl-C in the terminal is for us, and Redis ends after the workers.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| {
        Failure::new(Exit::Failure, format!("cannot start redis-server: {error}"))
            .hint("install it (Debian: apt-get install redis-server), or pass --redis URL")
            .into()
    })
}

/// The process id of the server on `port`, if its directory is ours.
fn serves(port: u16, directory: &Path) -> Option<i32> {
    let answer = ask(port, "CONFIG GET dir")?;
    let theirs = answer.lines().map(PathBuf::from).any(|line| line == directory);
    if theirs { process_of(port) } else { None }
}

/// The process id of the server on `port`.
fn process_of(port: u16) -> Option<i32> {
    let info = ask(port, "INFO server")?;
    info.lines().find_map(|line| line.strip_prefix("process_id:")).and_then(|pid| pid.trim().parse().ok())
}

/// One inline command to a server that may be anything; its raw answer, as far as it comes at once.
fn ask(port: u16, command: &str) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut answer = vec![0; 16 << 10];
    let length = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use jobqueue_testkit::free_port;

    use super::*;

    #[tokio::test]
    async fn a_server_is_found_again_and_keeps_its_data() {
        let place = tempfile::tempdir().expect("a directory");
        let manifest = place.path().join("jobqueue.yaml");
        let directory = place.path().canonicalize().expect("a path").join(".jobqueue/q/redis");
        // No other test tries this port while the server is down.
        let port = free_port();
        let mut first = PrivateRedis::start_from(&directory, port).await.expect("started");
        assert_eq!(ask(first.port, "SET k v").as_deref(), Some("+OK\r\n"));
        assert!(PrivateRedis::at(&first.url(), &directory).is_some());
        assert!(PrivateRedis::at("redis://127.0.0.1:6379/0", &directory).is_none());
        let found = PrivateRedis::start_from(&directory, port).await.expect("found");
        assert_eq!((found.found, found.port, found.pid), (true, first.port, first.pid));
        assert_eq!(private_redis_url("q", &manifest), Some(first.url()));
        first.stop().await;
        assert_eq!(private_redis_url("q", &manifest), None);
        assert!(first.revive().expect("revived"));
        first.wait_until_loaded().await.expect("loaded");
        assert!(!first.revive().expect("runs"));
        first.stop().await;
        let mut second = PrivateRedis::start_from(&directory, port).await.expect("started again");
        assert!(!second.found);
        assert_eq!(ask(second.port, "GET k").as_deref(), Some("$1\r\nv\r\n"));
        second.stop().await;
    }

    #[tokio::test]
    async fn starts_at_the_same_time_do_not_share_a_server() {
        let places: Vec<_> = (0..4).map(|_| tempfile::tempdir().expect("a directory")).collect();
        let port = free_port();
        let starts = places.iter().map(|place| PrivateRedis::start_from(place.path(), port));
        let mut servers = futures::future::try_join_all(starts).await.expect("all start");
        for (server, place) in servers.iter_mut().zip(&places) {
            assert_eq!(serves(server.port, &place.path().canonicalize().expect("a path")), Some(server.pid));
            server.stop().await;
        }
    }

    #[test]
    fn another_server_is_not_taken_for_ours() {
        let redis = jobqueue_testkit::Redis::start(&[]);
        assert_eq!(serves(redis.port(), Path::new("/nowhere")), None);
        assert!(serves(redis.port(), redis.directory()).is_some());
    }
}
