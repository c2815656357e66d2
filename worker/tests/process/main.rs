//! The real binary on real servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crew;
mod kill;
mod life;
