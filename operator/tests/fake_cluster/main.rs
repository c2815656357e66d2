//! The operator against an API server in memory: what it writes, what it says, and what becomes of it when things fail.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

mod api_server;
mod budgets;
mod campaign;
mod crashes;
mod election;
mod events;
mod fairness;
mod fixture;
mod gitops;
mod live;
mod liveness;
mod many;
mod owned;
mod pods;
mod reasons;
mod recipes;
mod requests;
mod retries;
mod rollouts;
mod scale_down;
