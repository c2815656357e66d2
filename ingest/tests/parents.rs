//! Children belong to their own parent, on every way in which a row can come by its id; or the job, or the recipe, is
//! refused with words that say why. Each child carries its parent's number, so that a wrong parent shows.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "parents/families.rs"]
mod families;
#[path = "conformance/fixture.rs"]
#[expect(dead_code, reason = "shared with the conformance suite, which uses the rest")]
mod fixture;
#[path = "parents/names.rs"]
mod names;
#[path = "parents/paths.rs"]
mod paths;
#[path = "parents/triggers.rs"]
mod triggers;
#[path = "parents/views.rs"]
mod views;

/// Every case is a function of a fresh database; it runs as a test of its own for each of those that are named.
macro_rules! cases {
    ($($database:ident { $($module:ident::$case:ident),* $(,)? })*) => {
        $(mod $database { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$module::$case(super::fixture::Database::$database().await).await; })* })*
    };
}

cases! {
    postgres {
        paths::batches_single_units_and_policies,
        paths::after_a_reconnect,
        paths::four_writers,
        paths::the_distance_of_ids_changes_in_the_middle,
        paths::ids_that_are_no_numbers,
        paths::a_default_that_looks_for_the_largest_id,
        names::the_id_is_given_and_spelled_as_in_the_table,
        triggers::an_audit_trigger_with_ids_of_its_own,
        triggers::a_trigger_that_changes_the_id,
        triggers::a_trigger_that_changes_the_id_afterwards,
        triggers::a_trigger_that_drops_rows,
        triggers::a_trigger_that_moves_rows,
        triggers::a_trigger_of_a_partition,
        views::a_view_with_a_trigger,
        views::a_view_that_takes_rows_by_itself,
        views::a_view_that_takes_none,
        views::rules,
    }
    mariadb {
        paths::batches_single_units_and_policies,
        paths::after_a_reconnect,
        paths::four_writers,
        paths::the_distance_of_ids_changes_in_the_middle,
        paths::ids_that_are_no_numbers,
        paths::an_id_of_0_is_generated,
        paths::ids_of_other_types,
        names::the_id_is_given_and_spelled_as_in_the_table,
        names::a_column_is_spelled_in_two_ways,
        names::letters_of_any_script_have_a_case,
        triggers::an_audit_trigger_with_ids_of_its_own,
        triggers::a_trigger_that_changes_the_id,
        triggers::a_trigger_that_the_account_does_not_see,
        views::a_view_that_takes_rows_by_itself,
        views::a_view_that_takes_none,
    }
    sqlite {
        paths::batches_single_units_and_policies,
        paths::after_a_reconnect,
        paths::four_writers,
        paths::ids_that_are_no_numbers,
        names::the_id_is_given_and_spelled_as_in_the_table,
        names::a_column_is_spelled_in_two_ways,
        triggers::an_audit_trigger_with_ids_of_its_own,
        triggers::a_trigger_that_changes_the_id_afterwards,
        triggers::a_trigger_that_drops_rows,
        triggers::a_table_that_drops_rows_itself,
        views::a_view_with_a_trigger,
        views::a_view_that_takes_none,
    }
}
