//! What local mode keeps on disk: a directory of its own per JobQueue, locked while in use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jobqueue_api::WorkerConfig;
use jobqueue_crds::worker_file;

use crate::common::exit::{Exit, Failure};

/// How much of the workers' log an error shows, in bytes.
const TAIL_BYTES: usize = 4096;
/// How many lines of it.
const TAIL_LINES: usize = 8;

/// The directory. It stays ours as long as this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    sqlite: PathBuf,
    _lock: File,
}

impl StateDir {
    /// `given`, or `.jobqueue/NAME` beside the manifest; made if it is missing.
    pub(crate) fn open(name: &str, manifest: &Path, given: Option<&Path>) -> anyhow::Result<Self> {
        let path = given.map_or_else(|| default_path(name, manifest), Path::to_path_buf);
        let shown = path.display().to_string();
        fs::create_dir_all(&path).with_context(|| format!("cannot make the directory {shown}"))?;
        let path = path.canonicalize().with_context(|| format!("cannot use the directory {shown}"))?;
        let lock = File::create(path.join("lock")).with_context(|| format!("cannot write to {shown}"))?;
        if lock.try_lock().is_err() {
            let message = format!("another `jobqueue local` uses {shown}");
            return Err(Failure::new(Exit::Failure, message).hint("end it, or pass another --state-dir").into());
        }
        let file = format!("{name}.sqlite");
        let sqlite = match given {
            Some(_) => path.join(file),
            None => beside(manifest).canonicalize().with_context(|| format!("cannot use {shown}"))?.join(file),
        };
        Ok(Self { path, sqlite, _lock: lock })
    }

    /// Of the private Redis.
    pub(crate) fn redis(&self) -> PathBuf {
        self.path.join("redis")
    }

    /// The default database.
    pub(crate) fn sqlite(&self) -> &Path {
        &self.sqlite
    }

    /// Where the workers log to.
    pub(crate) fn workers_log(&self) -> PathBuf {
        self.path.join("workers.log")
    }

    /// Writes the worker's config file.
    pub(crate) fn write_config(&self, config: &WorkerConfig) -> anyhow::Result<PathBuf> {
        let path = self.path.join("worker.yaml");
        fs::write(&path, worker_file(config)).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The last lines of the workers' log.
    pub(crate) fn workers_log_tail(&self) -> String {
        tail(&self.workers_log())
    }
}

/// `.jobqueue/NAME` beside the manifest.
pub(crate) fn default_path(name: &str, manifest: &Path) -> PathBuf {
    beside(manifest).join(".jobqueue").join(name)
}

fn beside(manifest: &Path) -> PathBuf {
    let parent = manifest.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The last lines of a file, indented.
pub(crate) fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_at_a_time() {
        let place = tempfile::tempdir().expect("a directory");
        let manifest = place.path().join("jobqueue.yaml");
        let first = StateDir::open("q", &manifest, None).expect("free");
        assert_eq!(first.sqlite(), place.path().canonicalize().expect("a path").join("q.sqlite"));
        assert!(first.redis().ends_with(".jobqueue/q/redis"));
        let second = StateDir::open("q", &manifest, None).expect_err("in use");
        assert!(second.to_string().contains("another `jobqueue local`"), "{second}");
        drop(first);
        StateDir::open("q", &manifest, None).expect("free again");
    }

    #[test]
    fn the_tail_is_short() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text: Vec<String> = (0..1000).map(|line| format!("line {line}")).collect();
        fs::write(file.path(), text.join("\n")).expect("written");
        let tail = tail(file.path());
        assert!(tail.starts_with("  line 992\n") && tail.ends_with("  line 999"), "{tail}");
    }
}
