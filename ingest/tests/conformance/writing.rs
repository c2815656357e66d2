//! Rows, replays and bad rows.

use jobqueue_ingest::{LedgerKey, RowTree, Unit, UnitOutcome};
use serde_json::json;

use crate::fixture::{Database, applied, companies, company, company_as, key, rejected};

/// Which partners belong to which company.
const FAMILIES: &str = "SELECT c.name, p.name FROM company c JOIN partner p ON p.company_id = c.id ORDER BY c.id, p.id";

pub(crate) async fn rows_and_children_are_exact(db: Database) {
    let recipe = companies(&json!({}));
    assert_eq!(db.sink.validate(&recipe).await.unwrap(), Ok(()));
    // 203 is no power of two, and 0 partners among others.
    let units: Vec<Unit> = (0..203).map(|n| company(&recipe, &format!("c{n}"), n % 5)).collect();
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    let expected: Vec<UnitOutcome> = (0..203).map(|n| applied(1 + n % 5)).collect();
    assert_eq!(outcomes, expected);
    assert_eq!(db.counts().await, [203, (0..203).map(|n| n % 5).sum(), 203]);
    let families: Vec<String> = (0..203).flat_map(|n| (0..n % 5).map(move |p| format!("c{n}|p{p}"))).collect();
    assert_eq!(db.rows(FAMILIES).await, families);
    // A second batch goes on where the first one ended.
    db.sink.write(&recipe, &[company(&recipe, "next", 2)]).await.unwrap();
    assert_eq!(db.rows(FAMILIES).await.split_off(families.len()), ["next|p0", "next|p1"]);
}

pub(crate) async fn a_replay_adds_nothing(db: Database) {
    let recipe = companies(&json!({}));
    let units: Vec<Unit> = (0..20).map(|n| company(&recipe, &format!("c{n}"), 2)).collect();
    db.sink.write(&recipe, &units[..10]).await.unwrap();
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes[..10].iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{outcomes:?}");
    assert!(outcomes[10..].iter().all(|outcome| *outcome == applied(3)), "{outcomes:?}");
    let again = db.sink.write(&recipe, &units).await.unwrap();
    assert!(again.iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{again:?}");
    assert_eq!(db.counts().await, [20, 40, 20]);
}

/// A check on the replays above: it is the key that keeps rows out, every part of it.
pub(crate) async fn another_generation_is_applied_again(db: Database) {
    let recipe = companies(&json!({}));
    let keys = [
        key("job"),
        LedgerKey { generation: 1, ..key("job") },
        LedgerKey { created_at: String::new(), ..key("job") },
        LedgerKey { queue: "Companies".into(), ..key("job") },
        key("JOB"),
    ];
    for (n, key) in keys.iter().enumerate() {
        let unit = Unit { key: key.clone(), ..company(&recipe, &format!("c{n}"), 1) };
        assert_eq!(db.sink.write(&recipe, &[unit]).await.unwrap(), [applied(2)], "{key:?}");
    }
    assert_eq!(db.counts().await, [5, 5, 5]);
}

pub(crate) async fn a_repeated_key_in_a_batch_is_applied_once(db: Database) {
    let recipe = companies(&json!({}));
    let one = company(&recipe, "one", 1);
    let bad = company_as(&recipe, "bad", "bad", &"长".repeat(41), 1);
    let outcomes = db.sink.write(&recipe, &[one.clone(), one, bad.clone(), bad]).await.unwrap();
    assert_eq!(outcomes[..2], [applied(2), UnitOutcome::AlreadyApplied]);
    assert_eq!(outcomes[2], outcomes[3], "a twin of a refused job is refused, not done");
    assert_eq!(db.counts().await, [1, 1, 1]);
}

pub(crate) async fn one_bad_row_fails_alone(db: Database) {
    let recipe = companies(&json!({}));
    db.sink.write(&recipe, &[company(&recipe, "taken", 0)]).await.unwrap();
    let mut units: Vec<Unit> = (0..200).map(|n| company(&recipe, &format!("c{n}"), 1)).collect();
    // Only the database knows of the first; the second can be seen beforehand.
    units[77] = company_as(&recipe, "double", "taken", "double", 3);
    units[133] = company_as(&recipe, "long", "long", &"长".repeat(41), 3);
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate().filter(|(n, _)| ![77, 133].contains(n)) {
        assert_eq!(*outcome, applied(2), "unit {n}");
    }
    let (words, may_pass) = rejected(&outcomes[77]);
    assert!(words.starts_with("company") && words.to_lowercase().contains("reg_num"), "{words}");
    assert!(!words.contains(" row "), "a row number of a batch misleads: {words}");
    assert!(!may_pass);
    let (words, may_pass) = rejected(&outcomes[133]);
    assert!(words.starts_with("company.name: text too long"), "{words}");
    assert!(words.chars().count() < 200 && !may_pass, "{words}");
    assert_eq!(db.counts().await, [199, 198, 199]);
}

pub(crate) async fn units_without_rows_are_remembered(db: Database) {
    let recipe = companies(&json!({}));
    let empty = Unit { key: key("empty"), rows: RowTree::default() };
    assert_eq!(db.sink.write(&recipe, std::slice::from_ref(&empty)).await.unwrap(), [applied(0)]);
    assert_eq!(db.sink.write(&recipe, &[empty]).await.unwrap(), [UnitOutcome::AlreadyApplied]);
    assert_eq!(db.sink.write(&recipe, &[]).await.unwrap(), []);
    assert_eq!(db.counts().await, [0, 0, 1]);
}
