//! Which operator leads, what a leader may still do, and what it does.

pub(crate) mod elector;
pub(crate) mod term;
