//! Lua scripts: known to the server by hash, sent whole where they are not.

use redis::{Cmd, ToRedisArgs};

/// A script with its SHA-1.
pub struct Script {
    body: String,
    hash: String,
}

impl Script {
    /// Joins parts (shared functions first) into one script.
    pub fn new(parts: &[&str]) -> Self {
        let body = parts.join("\n");
        let hash = redis::Script::new(&body).get_hash().to_owned();
        Self { body, hash }
    }

    /// A call of it; the key routes it in a cluster.
    pub fn on(&self, key: &str) -> Invocation<'_> {
        Invocation { script: self, key: key.to_owned(), args: Vec::new() }
    }
}

/// One call of a script.
pub struct Invocation<'a> {
    script: &'a Script,
    key: String,
    args: Vec<Vec<u8>>,
}

impl Invocation<'_> {
    /// Adds arguments (ARGV).
    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.push(arg);
        self
    }

    /// Adds arguments (ARGV), in a loop.
    pub fn push(&mut self, arg: impl ToRedisArgs) {
        self.args.extend(arg.to_redis_args());
    }

    pub(crate) fn hash(&self) -> &str {
        &self.script.hash
    }

    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    pub(crate) fn by_body(&self) -> Cmd {
        self.command("EVAL", &self.script.body)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(&self.key);
        for arg in &self.args {
            command.arg(arg.as_slice());
        }
        command
    }
}
