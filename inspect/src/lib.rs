//! What a person may see of queues, whichever page shows it: the dashboard in a browser, `jobqueue top` in a terminal.
//!
//! A [`source::Source`] knows the queues of a cluster, or of a Redis without one. [`survey::Surveys`] count failed jobs by
//! cause, and [`workers::workers`] reads who works on what.

pub mod samples;
pub mod source;
pub mod survey;
pub mod text;
pub mod workers;
