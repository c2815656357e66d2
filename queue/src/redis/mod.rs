//! Redis itself, whatever the queue on it: URLs, connections, scripts, and what its errors mean.

pub(crate) mod answer;
pub(crate) mod connection;
mod connector;
pub(crate) mod error;
pub(crate) mod foreign_text;
pub(crate) mod guard;
mod password_file;
mod redial;
pub(crate) mod script;
pub(crate) mod server_check;
pub(crate) mod url;
