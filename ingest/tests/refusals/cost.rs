//! What one bad record costs the others.

use crate::{RAISE_IN_POSTGRES, fixture, fixture::Database, tag, tags};

/// One among a thousand costs a few transactions, not a thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_record_costs_a_few_transactions() {
    let db = Database::postgres().await;
    db.run(RAISE_IN_POSTGRES).await;
    let recipe = tags();
    // Each transaction begins with the ledger, and a sequence counts those that are rolled back, too.
    db.run(
        "CREATE SEQUENCE transactions;
         CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM nextval('transactions'); RETURN NULL; END $$;
         CREATE TRIGGER counts BEFORE INSERT ON jobqueue_ledger FOR EACH STATEMENT EXECUTE FUNCTION count_it()",
    )
    .await;
    let number = async || -> u64 { db.rows("SELECT last_value::text FROM transactions").await[0].parse().unwrap() };
    db.sink.write(&recipe, &[tag(&recipe, "before")]).await.unwrap();
    for bad in ["!22000", "!42501", "!53100"] {
        let name = |n: usize| if n == 613 { bad.to_owned() } else { format!("{n} by {bad}") };
        let units: Vec<_> = (0..1000).map(|n| tag(&recipe, &name(n))).collect();
        let before = number().await;
        let outcomes = db.sink.write(&recipe, &units).await.unwrap();
        let transactions = number().await - before;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == fixture::applied(1)).count(), 999);
        assert!(transactions <= 5, "{bad}: {transactions} transactions");
    }
}
