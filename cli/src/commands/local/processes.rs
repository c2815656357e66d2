//! Worker processes: started, signalled, waited for. Thin: what to do is decided elsewhere.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use jobqueue_api::CONFIG_VERSION;
use jobqueue_crds::JobQueue;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::servers::{Database, Redis};
use super::supervisor::{Ended, WorkerId};
use crate::common::exit::{Exit, Failure};
use crate::common::tls::TlsFiles;

/// `jobqueue-worker` ends with it when its config or recipe is wrong.
const WORKER_EXIT_CONFIG: i32 = 78;
/// ... and with this one when its command line is.
const WORKER_EXIT_USAGE: i32 = 2;

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Exited {
    /// Which.
    pub(crate) worker: WorkerId,
    /// How, as far as the supervisor cares.
    pub(crate) how: Ended,
    /// How, for a person.
    pub(crate) words: String,
}

/// Where the passwords of a run are that are in files, by the worker's variables for them.
pub(super) fn password_files(redis: &Redis, database: &Database) -> [(&'static str, Option<PathBuf>); 2] {
    [
        ("JOBQUEUE_REDIS_PASSWORD_FILE", redis.password_file.clone()),
        ("JOBQUEUE_DATABASE_PASSWORD_FILE", database.password_file.clone()),
    ]
}

/// The worker processes of one run.
#[derive(Debug)]
pub(crate) struct Processes {
    binary: PathBuf,
    /// Kills the workers when this process dies without a chance to drain them, where the system has it.
    tether: bool,
    environment: Vec<(&'static str, String)>,
    /// Where passwords are that are in files, by variable; `None`: in the URL.
    passwords: [(&'static str, Option<PathBuf>); 2],
    tls: TlsFiles,
    log: Option<File>,
    /// Distinguishes the workers of this run from those of any other: `NAME-local-RUN-`.
    prefix: String,
    pids: BTreeMap<WorkerId, Pid>,
    ended: mpsc::UnboundedSender<Exited>,
    endings: mpsc::UnboundedReceiver<Exited>,
}

impl Processes {
    /// `log`: where the workers' stderr goes; none: to ours.
    pub(crate) fn new(
        binary: PathBuf,
        manifest: &JobQueue,
        config: PathBuf,
        log: Option<&Path>,
        (redis, database): (&Redis, &Database),
    ) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("cannot write {}", path.display()))
        };
        let log = log.map(open).transpose()?;
        let mut environment = vec![
            ("JOBQUEUE_CONFIG", config.into_os_string().into_string().ok().context("the path is not UTF-8")?),
            ("JOBQUEUE_CONFIG_VERSION", CONFIG_VERSION.to_string()),
            ("JOBQUEUE_REDIS_URL", redis.url.clone()),
            ("JOBQUEUE_DATABASE_URL", database.text.clone()),
            ("JOBQUEUE_LISTEN", String::new()),
        ];
        if log.is_some() {
            environment.push(("NO_COLOR", "1".into()));
        }
        if std::env::var_os("JOBQUEUE_LOG_FORMAT").is_none() {
            environment.push(("JOBQUEUE_LOG_FORMAT", "text".into()));
        }
        let run = uuid::Uuid::new_v4().simple().to_string();
        let name = manifest.metadata.name.as_deref().unwrap_or("jobqueue");
        let (ended, endings) = mpsc::unbounded_channel();
        let tether = find_on_path("setpriv").is_some();
        let prefix = format!("{name}-local-{}-", &run[..6]);
        let tls = redis.tls.clone();
        let passwords = password_files(redis, database);
        Ok(Self { binary, tether, environment, passwords, tls, log, prefix, pids: BTreeMap::new(), ended, endings })
    }

    /// The executable.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts one. A failure to do so is reported as its end.
    pub(crate) fn start(&mut self, worker: WorkerId) {
        let mut command = if self.tether {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM", "--"]).arg(&self.binary);
            command
        } else {
            Command::new(&self.binary)
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let passwords = self.passwords.iter().map(|(variable, file)| (*variable, file.as_deref()));
        for (variable, file) in self.tls.environment().into_iter().chain(passwords) {
            match file {
                Some(file) => command.env(variable, file),
                None => command.env_remove(variable),
            };
        }
        // How long they live is decided here.
        command.env_remove("JOBQUEUE_MAX_JOBS").env_remove("JOBQUEUE_MAX_IDLE_SECONDS");
        command.env("JOBQUEUE_WORKER_NAME", format!("{}{}", self.prefix, worker.0));
        // A group of its own: Ctrl-C in the terminal is for us, who then tell the workers in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(log) = self.log.as_ref().and_then(|log| log.try_clone().ok()) {
            command.stderr(log);
        }
        let ended = self.ended.clone();
        match command.spawn() {
            Ok(mut child) => {
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    self.pids.insert(worker, Pid::from_raw(pid));
                }
                tokio::spawn(async move {
                    let exited = match child.wait().await {
                        Ok(status) => Exited { worker, how: how(status), words: words(status) },
                        Err(error) => Exited { worker, how: Ended::Crashed, words: error.to_string() },
                    };
                    // Nobody listens when the run is over.
                    let _ = ended.send(exited);
                });
            }
            Err(error) => {
                let words = format!("cannot start {}: {error}", self.binary.display());
                let _ = ended.send(Exited { worker, how: Ended::Crashed, words });
            }
        }
    }

    /// Sends a signal, if it still runs.
    pub(crate) fn signal(&self, worker: WorkerId, signal: Signal) {
        if let Some(pid) = self.pids.get(&worker) {
            let _ = kill(*pid, signal);
        }
    }

    /// The next process that ends.
    pub(crate) async fn next_ended(&mut self) -> Exited {
        let exited = self.endings.recv().await.expect("we hold a sender");
        self.pids.remove(&exited.worker);
        exited
    }

    /// Which of ours goes by this name in Redis; workers add a suffix to the name they are given.
    pub(crate) fn worker_named(&self, name: &str) -> Option<WorkerId> {
        worker_named(&self.prefix, name)
    }
}

fn worker_named(prefix: &str, name: &str) -> Option<WorkerId> {
    let rest = name.strip_prefix(prefix)?;
    let number = rest.split('-').next()?;
    Some(WorkerId(number.parse().ok()?))
}

fn how(status: ExitStatus) -> Ended {
    match status.code() {
        Some(0) => Ended::Cleanly,
        Some(WORKER_EXIT_CONFIG | WORKER_EXIT_USAGE) => Ended::Unusable,
        Some(_) | None => Ended::Crashed,
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code != 0 => format!("ended with exit code {code}"),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
            format!("was killed by {name}")
        }
        (Some(_), _) | (None, None) => "ended unasked".into(),
    }
}

/// The worker's executable: as given, beside our own, or on PATH.
pub(crate) fn find_worker(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let name = "jobqueue-worker";
    let beside = || {
        let own = std::env::current_exe().ok()?;
        Some(own.parent()?.join(name)).filter(|path| path.is_file())
    };
    let found = if let Some(path) = given {
        Some(path.to_path_buf()).filter(|path| path.is_file())
    } else {
        beside().or_else(|| find_on_path(name))
    };
    found.ok_or_else(|| {
        let what = given.map_or_else(
            || format!("{name} is neither beside this executable nor on PATH"),
            |path| format!("there is no worker at {}", path.display()),
        );
        Failure::new(Exit::NotFound, what)
            .hint(
                "install it with `cargo install --locked --path worker` (in the source tree), or pass --workers-binary",
            )
            .into()
    })
}

fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_known_by_their_names() {
        assert_eq!(worker_named("q-local-ab-", "q-local-ab-12-0f3c"), Some(WorkerId(12)));
        assert_eq!(worker_named("q-local-ab-", "q-local-cd-12-0f3c"), None);
        assert_eq!(worker_named("q-local-ab-", "q-local-ab-x"), None);
    }

    #[test]
    fn ends_are_told_apart() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!([how(code(0)), how(code(78)), how(code(1))], [Ended::Cleanly, Ended::Unusable, Ended::Crashed]);
        let killed = ExitStatus::from_raw(9);
        assert_eq!((how(killed), words(killed).as_str()), (Ended::Crashed, "was killed by SIGKILL"));
        assert_eq!(words(code(1)), "ended with exit code 1");
    }

    #[test]
    fn a_missing_worker_is_a_usage_matter() {
        let error = find_worker(Some(Path::new("/nowhere/worker"))).expect_err("missing");
        assert_eq!(error.to_string(), "there is no worker at /nowhere/worker");
    }
}
