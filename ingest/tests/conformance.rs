//! What every sink has to do, run over PostgreSQL, MariaDB and SQLite: exact rows, each run applied once, one bad row
//! never another job's trouble, and words that name the cause.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "conformance/concurrency.rs"]
mod concurrency;
#[path = "conformance/conflicts.rs"]
mod conflicts;
#[path = "conformance/fixture.rs"]
mod fixture;
#[path = "conformance/maintenance.rs"]
mod maintenance;
#[path = "conformance/outages.rs"]
mod outages;
#[path = "conformance/types.rs"]
mod types;
#[path = "conformance/values.rs"]
mod values;
#[path = "conformance/writing.rs"]
mod writing;
#[path = "conformance/zones.rs"]
mod zones;

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
    values::values_arrive_exactly,
    values::what_does_not_fit_is_refused_by_name,
    values::a_value_that_only_the_database_can_judge_is_refused_in_its_words,
    values::a_word_that_is_none_of_the_enum_is_refused,
    types::bytes_go_into_binary_columns_and_nowhere_else,
    types::rows_can_be_tried_without_a_trace,
    types::a_column_named_by_a_yaml_word_is_explained,
    conflicts::fail_rejects_the_second_of_a_key,
    conflicts::ignore_keeps_what_is_there,
    conflicts::update_takes_the_last_value,
    conflicts::children_of_an_ignored_row_are_not_written,
    conflicts::children_of_an_updated_row_refer_to_it,
    conflicts::only_the_named_key_counts,
    conflicts::a_missing_foreign_row_may_come,
    concurrency::two_writers_of_the_same_units_apply_each_once,
    concurrency::a_missing_table_fails_no_job,
    concurrency::a_column_that_the_recipe_does_not_know_fails_no_job,
    concurrency::a_ledger_that_is_gone_is_made_again,
    outages::a_connection_killed_inside_the_transaction_leaves_nothing,
    outages::a_lock_held_too_long_is_no_fault_of_the_record,
    outages::a_commit_whose_answer_is_lost_is_not_repeated,
    outages::a_commit_on_a_half_open_connection_is_not_repeated,
    outages::a_write_that_ends_the_connection_is_told_from_an_absent_database,
    outages::a_silent_network_is_an_absent_database,
    outages::a_transaction_whose_worker_is_silent_ends,
    outages::a_large_statement_over_a_slow_network_is_awaited,
    outages::deadlocks_are_tried_again,
    maintenance::the_ledger_can_be_ensured_again_and_is_what_the_ddl_says,
    maintenance::a_probe_writes_and_leaves_nothing,
    maintenance::without_the_right_to_create_the_ddl_is_asked_for,
    maintenance::old_entries_are_pruned_and_young_ones_stay,
    maintenance::every_problem_of_a_recipe_is_reported_at_once,
    maintenance::a_parent_without_a_generated_id_is_a_problem,
    maintenance::errors_name_the_place_and_never_the_password,
    zones::the_databases_own_defaults_are_in_the_zone,
    zones::text_without_an_offset_is_of_the_zone_and_instants_stay_instants,
    zones::the_zone_of_the_server_is_left_where_it_is_asked_for,
    zones::a_zone_that_the_server_does_not_know_is_refused_when_it_is_opened,
    zones::the_options_of_a_url_say_the_zone_too,
    zones::a_recipe_that_drops_offsets_is_warned_of,
}
