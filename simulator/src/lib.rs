//! Simulated queues: what a manifest's scaling does with a load, compared with other scaling policies.
//!
//! [`Scenario`] says what arrives and what jobs, pods and database are like, [`Comparison`] runs scenarios with policies, and
//! [`Report`] has the numbers. Inside, `simulation` is the model: a load fills a first-in-first-out queue, a fleet of pods
//! empties it, and a scaling policy decides how many pods there are. `bound` computes the least that any policy could have
//! spent. There is no clock and no I/O here, and all random numbers come from a seed: the same input gives the same report.

mod bound;
mod comparison;
mod explained;
mod fifo;
mod fleet;
mod incoming;
mod load;
mod policies;
mod report;
mod scenario;
mod series;
mod shape;
mod simulation;
mod trace;
mod waits;
mod work;

pub use comparison::{Comparison, ManifestScaling, PolicyName};
pub use explained::Explained;
pub use report::{BoundSummary, Finding, Report, Row};
pub use scenario::{ArrivalRate, Circumstances, Scenario};
pub use series::{Point, Series};
pub use shape::Shape;
pub use simulation::{Outcome, ScalingChange};
pub use trace::TraceError;
