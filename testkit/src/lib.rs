//! Real servers for tests: Redis, PostgreSQL and MariaDB, each on a free port with a directory of its own.
//!
//! A server lives as long as its value; [`redis`], [`postgres`] and [`mariadb`] give one that all tests of a binary
//! share. Every server dies with the test process, also when that is killed. Needs Debian's `redis-server`,
//! `postgresql`, `pgbouncer` and `mariadb-server`; as root, the databases run under their own accounts.

mod authority;
mod disk;
mod mariadb;
mod pgbouncer;
mod postgres;
mod process;
mod redis;
mod sentinel;
pub mod tree;

pub use authority::Authority;
pub use disk::SmallDisk;
pub use mariadb::MariaDb;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use process::{free_port, until};
pub use redis::{Redis, redis_server};
pub use sentinel::Sentinel;

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name nobody else in this process uses: for databases, queues and keys of one test on a shared server.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The Redis that the tests of this binary share. Use [`unique`] queue names on it, and never flush it.
pub fn redis() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(|| Redis::start(&[]))
}

/// The PostgreSQL that the tests of this binary share; take a database of your own with [`Postgres::database`].
pub fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

/// The MariaDB that the tests of this binary share; take a database of your own with [`MariaDb::database`].
pub fn mariadb() -> &'static MariaDb {
    static SHARED: OnceLock<MariaDb> = OnceLock::new();
    SHARED.get_or_init(MariaDb::start)
}
