//! The way into the scaling decision, for whoever drives it against a real queue: from `spec.scaling` to the decision's
//! rules ([`policy()`]), and from one look at Redis after another to what it observes ([`Demand`]). The crates at both ends
//! know nothing of each other.

mod look;
mod policy;

pub use look::{Demand, Look};
pub use policy::{capped, policy};
