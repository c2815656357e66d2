//! The `jobqueue` command.
fn main() {}
