//! The way into the scaling decision, for whoever drives it against a real queue: from `spec.scaling` to the decision's
//! rules ([`policy()`], [`calendar()`]), and from one look at Redis after another to what it observes ([`Demand`]). The
//! crates at both ends know nothing of each other.

mod calendar;
mod look;
mod policy;

pub use calendar::calendar;
pub use look::{Demand, Look};
pub use policy::{capped, policy};
