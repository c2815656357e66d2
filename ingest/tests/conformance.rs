//! What every sink has to do, run over PostgreSQL, MariaDB and SQLite: exact rows, each run applied once, one bad row
//! never another job's trouble, and words that name the cause.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "conformance/concurrency.rs"]
mod concurrency;
#[path = "conformance/fixture.rs"]
mod fixture;
#[path = "conformance/writing.rs"]
mod writing;

/// Every case is a function of a fresh database; it runs as a test of its own for each of them.
macro_rules! conformance {
    ($($module:ident::$case:ident),* $(,)?) => {
        mod postgres { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$module::$case(super::fixture::Database::postgres().await).await; })* }
        mod mariadb { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$module::$case(super::fixture::Database::mariadb().await).await; })* }
        mod sqlite { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$module::$case(super::fixture::Database::sqlite().await).await; })* }
    };
}

conformance! {
    writing::rows_and_children_are_exact,
    writing::a_replay_adds_nothing,
    writing::another_generation_is_applied_again,
    writing::a_repeated_key_in_a_batch_is_applied_once,
    writing::one_bad_row_fails_alone,
    writing::units_without_rows_are_remembered,
    concurrency::two_writers_of_the_same_units_apply_each_once,
    concurrency::a_missing_table_fails_no_job,
}
