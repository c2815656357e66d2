//! The settings that all pools of connections have in common.

use std::time::Duration;

use sqlx::{Database, pool::PoolOptions};

/// A connection that is older is replaced by a new one when it is next wanted, so that a worker follows servers that come and
/// go behind one address.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// A pool of up to `max_connections`. It makes them when they are wanted, and has no task of its own that closes idle ones:
/// in the driver (sqlx 0.9.0, its issue 3645) that task can count below zero, and then never ends, nor does the process.
pub(super) fn pool_options<DB: Database>(max_connections: u32, max_age: Duration) -> PoolOptions<DB> {
    PoolOptions::new().max_connections(max_connections.max(1)).idle_timeout(None).max_lifetime(None).before_acquire(
        move |_, connection| {
            let is_young = connection.age < max_age;
            Box::pin(async move { Ok(is_young) })
        },
    )
}

#[cfg(test)]
mod tests {
    use sqlx::{Pool, Sqlite};

    use super::*;

    async fn pool(max_age: Duration) -> Pool<Sqlite> {
        pool_options(1, max_age).connect("sqlite::memory:").await.expect("SQLite is there")
    }

    #[tokio::test]
    async fn no_pool_has_the_task_that_may_never_end() {
        let pool = pool(MAX_AGE).await;
        assert_eq!((pool.options().get_idle_timeout(), pool.options().get_max_lifetime()), (None, None));
    }

    #[tokio::test]
    async fn an_old_connection_is_replaced() {
        // A database in memory is its connection's own.
        for (max_age, kept) in [(MAX_AGE, true), (Duration::ZERO, false)] {
            let pool = pool(max_age).await;
            sqlx::query("CREATE TABLE t (a)").execute(&pool).await.expect("a new database");
            assert_eq!(sqlx::query("SELECT a FROM t").execute(&pool).await.is_ok(), kept, "{max_age:?}");
        }
    }
}
