//! The ledger: one row per run that has been applied, written in the same transaction as the run's rows.
//!
//! The key is the identity that the claim gave the run. An index over texts would be large, so the unique key is its digest:
//! the first 16 bytes of a SHA-256. Entries of older versions have the digest of their names (queue, job id, `created_at`,
//! generation) instead, and what such a worker had in hand is still looked for there.
//! The readable columns beside it are for people, and are shortened to [`READABLE`] characters.

use rand::distr::{Alphanumeric, SampleString as _};
use sha2::{Digest as _, Sha256};

use super::{DatabaseKind, LedgerKey};

/// Name of the ledger's table.
pub const LEDGER_TABLE: &str = "jobqueue_ledger";

/// At most this many entries are removed per call of [`super::Sink::prune_ledger`].
pub(super) const PRUNE_LIMIT: u32 = 5_000;

/// Length of the readable columns, in characters.
const READABLE: usize = 255;

/// The statements that create the ledger, for `jobqueue schema` and for [`super::Sink::ensure_ledger`].
pub fn ledger_ddl(kind: DatabaseKind) -> &'static str {
    match kind {
        DatabaseKind::Postgres => POSTGRES,
        DatabaseKind::Mysql => MYSQL,
        DatabaseKind::Sqlite => SQLITE,
    }
}

const POSTGRES: &str = "\
CREATE TABLE IF NOT EXISTS jobqueue_ledger (
    digest bytea NOT NULL PRIMARY KEY, -- the first 16 bytes of the SHA-256 of the run's identity
    queue text NOT NULL,
    job_id text NOT NULL,
    created_at text NOT NULL, -- as the producer wrote it
    generation bigint NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS jobqueue_ledger_applied_at ON jobqueue_ledger (applied_at);
";

// `entry` keeps the clustered rows in the order of writing, so that only the short unique index is written at random
// places, and the oldest entries are found without an index over the time.
const MYSQL: &str = "\
CREATE TABLE IF NOT EXISTS jobqueue_ledger (
    entry BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    digest BINARY(16) NOT NULL, -- the first 16 bytes of the SHA-256 of the run's identity
    queue VARCHAR(255) NOT NULL,
    job_id VARCHAR(255) NOT NULL,
    created_at VARCHAR(255) NOT NULL, -- as the producer wrote it
    generation BIGINT UNSIGNED NOT NULL,
    applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE KEY jobqueue_ledger_digest (digest)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
";

const SQLITE: &str = "\
CREATE TABLE IF NOT EXISTS jobqueue_ledger (
    entry INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE, -- the first 16 bytes of the SHA-256 of the run's identity
    queue TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL, -- as the producer wrote it
    generation INTEGER NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
";

/// The unique key of a run.
pub(super) type Digest = [u8; 16];

/// A ledger entry on its way into the database.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) queue: String,
    pub(super) job_id: String,
    pub(super) created_at: String,
    pub(super) generation: i64,
}

impl Entry {
    pub(super) fn new(key: &LedgerKey) -> Self {
        Self {
            digest: digest(key),
            queue: readable(&key.queue),
            job_id: readable(&key.job_id),
            created_at: readable(&key.created_at),
            generation: i64::try_from(key.generation).unwrap_or(i64::MAX),
        }
    }

    /// An entry of no run, to be taken back.
    pub(super) fn trial(padding: String) -> Self {
        Self {
            digest: rand::random(),
            queue: "probe".into(),
            job_id: padding,
            created_at: String::new(),
            generation: 0,
        }
    }

    /// Trial entries of `bytes` in all, which no compression makes smaller; one entry where a text may be so long.
    pub(super) fn ballast(kind: DatabaseKind, bytes: usize) -> Vec<Self> {
        let each = if kind == DatabaseKind::Mysql { READABLE } else { bytes };
        let entry = |_| Self::trial(Alphanumeric.sample_string(&mut rand::rng(), each));
        (0..bytes.div_ceil(each)).map(entry).collect()
    }
}

/// Each text is preceded by its length, so that no two keys are the same bytes; a length of 2^64-1, which no text has, marks
/// an identity.
fn digest(key: &LedgerKey) -> Digest {
    let mut hash = Sha256::new();
    if let Some(run) = &key.run {
        hash.update(u64::MAX.to_le_bytes());
        hash.update(run.as_bytes());
    } else {
        for text in [&key.queue, &key.job_id, &key.created_at] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(key.generation.to_le_bytes());
    }
    let whole = hash.finalize();
    let mut short = Digest::default();
    short.copy_from_slice(&whole[..16]);
    short
}

/// PostgreSQL takes no zero byte in text.
fn readable(text: &str) -> String {
    text.chars().take(READABLE).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(queue: &str, job_id: &str, created_at: &str, generation: u64) -> LedgerKey {
        let (queue, job_id, created_at) = (queue.into(), job_id.into(), created_at.into());
        LedgerKey { queue, job_id, created_at, generation, run: None }
    }

    #[test]
    fn an_identity_is_all_of_the_key() {
        let of = |names: LedgerKey, run: &str| Entry::new(&LedgerKey { run: Some(run.into()), ..names }).digest;
        let one = of(key("q", "j", "t", 0), "r");
        assert_eq!(one, of(key("moved", "j", "u", 1), "r"));
        assert_ne!(one, of(key("q", "j", "t", 0), "s"));
        assert_ne!(one, Entry::new(&key("q", "j", "t", 0)).digest);
    }

    /// As version 0.1.0 wrote it: what that applied is not applied again.
    #[test]
    fn the_digest_of_names_is_what_it_was() {
        let digest = Entry::new(&key("companies", "j-1", "2026-11-23T23:43:46.082897Z", 2)).digest;
        assert_eq!(u128::from_be_bytes(digest), 0xdeee_5413_427e_8323_7bb3_628f_15f0_e485);
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let one = Entry::new(&key("q", "j", "t", 0)).digest;
        assert_eq!(one, Entry::new(&key("q", "j", "t", 0)).digest);
        for other in [
            key("Q", "j", "t", 0),
            key("q", "k", "t", 0),
            key("q", "j", "u", 0),
            key("q", "j", "t", 1),
            key("qj", "", "t", 0),
        ] {
            assert_ne!(one, Entry::new(&other).digest, "{other:?}");
        }
    }

    #[test]
    fn long_ids_stay_apart_though_their_readable_form_is_shortened() {
        let long = "公".repeat(300);
        let (a, b) =
            (Entry::new(&key("q", &format!("{long}a"), "", 0)), Entry::new(&key("q", &format!("{long}b"), "\0", 0)));
        assert_eq!(a.job_id, b.job_id);
        assert_eq!(a.job_id.chars().count(), READABLE);
        assert_ne!(a.digest, b.digest);
        assert_eq!(b.created_at, "\u{fffd}");
    }
}
