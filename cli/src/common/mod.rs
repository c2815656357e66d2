//! What several commands share; nothing here knows a command.

pub(crate) mod decision;
pub(crate) mod exit;
pub(crate) mod global_args;
pub(crate) mod interruption;
pub(crate) mod lines;
pub(crate) mod output;
#[cfg(unix)]
pub(crate) mod private_redis;
pub(crate) mod queue_source;
pub(crate) mod sink;
#[cfg(unix)]
pub(crate) mod state_dir;
pub(crate) mod target;
pub(crate) mod tls;
