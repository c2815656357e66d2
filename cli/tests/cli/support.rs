//! Runs the built command as a person or a script would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the command gave.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; -1 if killed.
    pub(crate) code: i32,
    /// Data.
    pub(crate) out: String,
    /// Messages.
    pub(crate) err: String,
}

/// The command with a clean environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobqueue"));
    command.args(args);
    for name in ["REDIS_URL", "REDIS_CA", "REDIS_CERT", "REDIS_KEY", "DATABASE_URL"] {
        command.env_remove(format!("JOBQUEUE_{name}"));
    }
    command
}

/// Runs it without any input.
pub(crate) fn jobqueue(args: &[&str]) -> Ran {
    jobqueue_with(args, "")
}

/// Runs it with this on its standard input.
pub(crate) fn jobqueue_with(args: &[&str], input: &str) -> Ran {
    let jobqueue = command(args);
    // One that never ends is ended: the exit code is 124 then.
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=30", "120"]).arg(jobqueue.get_program()).args(jobqueue.get_args());
    for (name, _) in jobqueue.get_envs() {
        bounded.env_remove(name);
    }
    let mut child = bounded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file of this content in `directory`.
pub(crate) fn file(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// As an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The worker's executable: cargo builds it for the tests of the whole workspace, not for those of this crate alone.
pub(crate) fn worker() -> PathBuf {
    let worker = Path::new(env!("CARGO_BIN_EXE_jobqueue")).with_file_name("jobqueue-worker");
    let hint = "build it with `cargo build -p jobqueue-worker` (`cargo test --workspace` does)";
    assert!(worker.is_file(), "these tests run the worker, and there is none at {}: {hint}", worker.display());
    worker
}
