//! The way into the scaling decision, for whoever drives it against a real queue: from `spec.scaling` to the decision's
//! rules ([`policy()`], [`calendar()`]), from one poll of Redis after another to what it observes ([`ScalingInput`]), and from the
//! decision to `status.decision` ([`decision_status`]). The crates at both ends know nothing of each other.

mod calendar;
mod policy;
mod reading;
mod status;

pub use calendar::calendar;
pub use policy::{capped, policy};
pub use reading::{Reading, ScalingInput};
pub use status::{decision_status, limit_reason};
