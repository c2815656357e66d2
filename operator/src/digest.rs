//! Short digests for annotations that say "this changed".

use sha2::{Digest, Sha256};

/// The first 32 bits of a SHA-256 over the length-prefixed parts, in hex. Short on purpose: it tells a change from no
/// change, and says too little about a Secret to test guesses against.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    format!("{:08x}", u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn tells_apart_what_concatenation_would_not() {
        assert_ne!(digest([&b"ab"[..], b"c"]), digest([&b"a"[..], b"bc"]));
        assert_eq!(digest([&b"ab"[..], b"c"]), digest([&b"ab"[..], b"c"]));
    }
}
