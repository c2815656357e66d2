//! The RQ protocol against a real Redis, one file a subject.

#![expect(clippy::unwrap_used, reason = "helpers of tests may")]

mod aftermath;
mod claim;
mod cost;
mod faults;
mod fixture;
mod maintain;
mod settle;
mod worker;
