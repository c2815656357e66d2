//! What the worker knows of itself while it runs, shared by its tasks.

pub(crate) mod circuit_breaker;
pub(crate) mod fault;
pub(crate) mod health;
pub(crate) mod in_flight;
pub(crate) mod instruments;
pub(crate) mod metrics;
pub(crate) mod shutdown;
