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
