//! Short digests for annotations that say "this changed".

use std::{
    fmt,
    hash::{BuildHasher, Hash},
};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The first 32 bits of a SHA-256 over the length-prefixed parts; in text, eight hex digits. It tells a
/// change from no change. That of a Secret's values stays within the process: whoever reads it can test guesses against it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Digest(pub(crate) u32);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Digest {
    /// The digest of a value as JSON.
    pub(crate) fn of_json(value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("Kubernetes objects serialise");
        digest([bytes.as_slice()])
    }
}

/// The digest of these parts, in this order.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    Digest(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
}

/// Tells a change from no change within one process, cheaply: it is taken at every poll.
pub(crate) fn fingerprint(of: impl Hash) -> u64 {
    foldhash::fast::FixedState::default().hash_one(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_apart_what_concatenation_would_not() {
        assert_ne!(digest([&b"ab"[..], b"c"]), digest([&b"a"[..], b"bc"]));
        assert_eq!(digest([&b"ab"[..], b"c"]), digest([&b"ab"[..], b"c"]));
    }
    #[test]
    fn is_written_in_eight_digits() {
        assert_eq!(Digest(0xab).to_string(), "000000ab");
        // The beginning of the SHA-256 of nothing.
        assert_eq!(digest([]).to_string(), "e3b0c442");
    }
}
