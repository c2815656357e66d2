//! The scaling decision: a pure function of policy, observation and memory.
//!
//! [`decide`] answers how many workers there should be, why, and what the answer would be without each limit.
//! [`Meter`] turns the workers' counters into the rates that it uses. Neither reads a clock, the environment, Redis or
//! Kubernetes (`clippy.toml` sees to that): the operator, local mode and a simulator drive the same code. Times are
//! seconds since any fixed moment; a clock that jumps is survived, not believed.

mod arrivals;
mod deadline;
mod decide;
mod erlang;
mod hold;
mod life_table;
mod memory;
mod meter;
mod need;
mod observation;
mod offered;
mod policy;
mod protect;
mod reason;
mod rhythm;
mod saturation;
mod schedule;
mod starts;

pub use deadline::Deadline;
pub use decide::{Candidate, Decision, Limited, decide};
pub use life_table::LifeTable;
pub use memory::Memory;
pub use meter::{Meter, Sample, WorkerCounters};
pub use observation::{Ages, Backlog, JobVariation, Observation, Rates, WorkerRate, Workers, eta_seconds};
pub use policy::{ConnectionBudget, Mode, OnQueueFailure, Policy, Ramp, Targets};
pub use protect::protect;
pub use reason::{Limit, Reason};
pub use schedule::{Bound, Bounds, Calendar, Schedule, ScheduleError, ScheduleName, bounds};
