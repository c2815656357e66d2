//! The dashboard as a browser meets it, with a real Redis behind it.

mod access;
mod failed;
mod simulation;
mod support;
