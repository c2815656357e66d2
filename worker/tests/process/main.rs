//! The real binary on real servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;
mod kill;
mod life;
