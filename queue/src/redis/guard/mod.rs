//! Connections to servers that are not trusted: what may be dialled, and how much a server may answer. For a process that
//! serves many tenants; a worker, which has one Redis of its own, goes without.

pub(crate) mod addresses;
pub(crate) mod cluster;
pub(crate) mod dialer;
pub(crate) mod meter;
mod resolver;
mod scanner;
mod tls;

use std::sync::Arc;
use std::time::Duration;

pub use addresses::{AddressPolicy, Network};

/// How much a server may answer to what was asked in one round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Bytes.
    pub bytes: usize,
    /// Values, those within arrays included.
    pub values: usize,
    /// Bytes of one text.
    pub text: usize,
    /// Arrays within arrays.
    pub depth: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { bytes: 8 << 20, values: 200_000, text: 1 << 20, depth: 8 }
    }
}

/// What a connection to a server that is not trusted is held to.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Where it may lead, whatever a name resolves to and wherever Sentinel or a cluster redirects.
    pub addresses: Arc<AddressPolicy>,
    /// How much the server may answer.
    pub limits: ReplyLimits,
}

/// How long after the `failures`th failed attempt in a row to connect, and the `excesses`th answer beyond a limit, the next
/// attempt may begin. A server that is down is tried often at first; one that answered too much may not try again soon.
pub(crate) fn redial_after(failures: u32, excesses: u32) -> Duration {
    let doubled = |first: u64, times: u32, longest: u64| {
        Duration::from_millis(first.saturating_mul(1 << times.min(16)).min(longest))
    };
    let after_failure = doubled(200, failures.saturating_sub(10), 5_000);
    if excesses == 0 { after_failure } else { after_failure.max(doubled(1_000, excesses - 1, 60_000)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_is_tried_often_and_one_that_floods_is_not() {
        let down = [1, 10, 11, 12, 100].map(|failures| redial_after(failures, 0).as_millis());
        assert_eq!(down, [200, 200, 400, 800, 5_000]);
        let floods = [1, 2, 3, 100].map(|excesses| redial_after(1, excesses).as_millis());
        assert_eq!(floods, [1_000, 2_000, 4_000, 60_000]);
    }
}
