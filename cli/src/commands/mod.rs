//! The commands: a module each, with its flags and a `run` that says how the program exits.

pub(crate) mod acl;
pub(crate) mod completion;
pub(crate) mod dashboard;
pub(crate) mod enqueue;
pub(crate) mod explain;
pub(crate) mod failed;
#[cfg(unix)]
pub(crate) mod local;
#[cfg(not(unix))]
#[path = "local_elsewhere.rs"]
pub(crate) mod local;
pub(crate) mod schema;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod try_recipe;
