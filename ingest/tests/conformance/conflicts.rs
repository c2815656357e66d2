//! `onConflict`: Fail, Ignore and Update, with and without children.

use jobqueue_ingest::{Recipe, RowTree, SqlValue, Unit};
use serde_json::json;

use crate::fixture::{Database, applied, companies, company, company_as, key, recipe, rejected, row, text};

const FAMILIES: &str =
    "SELECT c.reg_num, c.name, p.name FROM company c LEFT JOIN partner p ON p.company_id = c.id ORDER BY c.id, p.id";

fn tags(policy: &serde_json::Value) -> Recipe {
    let mut table = json!({"table": "tag", "columns": {"label": "record.label", "weight": "record.weight"}});
    table.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    recipe(&json!([table]))
}

fn tag(recipe: &Recipe, job: &str, label: &str, weight: i64) -> Unit {
    let row = row(recipe, 0, &[("label", text(label)), ("weight", SqlValue::Int(weight))], Vec::new());
    Unit { key: key(job), rows: RowTree { rows: vec![row] } }
}

const TAGS: &str = "SELECT label, weight FROM tag ORDER BY label";

pub(crate) async fn fail_rejects_the_second_of_a_key(db: Database) {
    let recipe = tags(&json!({}));
    let outcomes = db.sink.write(&recipe, &[tag(&recipe, "1", "a", 1), tag(&recipe, "2", "a", 2)]).await.unwrap();
    assert_eq!(outcomes[0], applied(1));
    let (message, may_pass) = rejected(&outcomes[1]);
    assert!(message.starts_with("tag") && !may_pass, "{message}");
    assert_eq!(db.rows(TAGS).await, ["a|1"]);
}

pub(crate) async fn ignore_keeps_what_is_there(db: Database) {
    for policy in [json!({"onConflict": "Ignore"}), json!({"onConflict": "Ignore", "key": ["label"]})] {
        let recipe = tags(&policy);
        let named = policy.to_string().len().to_string();
        let unit = |n: usize, label: &str, weight| tag(&recipe, &format!("{named}-{n}"), label, weight);
        let units = [unit(1, "a", 1), unit(2, "b", 2), unit(3, "a", 3)];
        assert_eq!(db.sink.write(&recipe, &units).await.unwrap(), [applied(1), applied(1), applied(1)]);
        // Other refusals are still refusals: Ignore is about the key alone.
        let (message, _) = rejected(&db.sink.write(&recipe, &[unit(4, &"x".repeat(21), 1)]).await.unwrap()[0]);
        assert!(message.contains("tag.label"), "{message}");
    }
    assert_eq!(db.rows(TAGS).await, ["a|1", "b|2"]);
}

pub(crate) async fn update_takes_the_last_value(db: Database) {
    let recipe = tags(&json!({"onConflict": "Update", "key": ["label"]}));
    assert_eq!(db.sink.validate(&recipe).await.unwrap(), Ok(()));
    let units = [tag(&recipe, "1", "a", 1), tag(&recipe, "2", "b", 2), tag(&recipe, "3", "a", 3)];
    assert_eq!(db.sink.write(&recipe, &units).await.unwrap(), [applied(1), applied(1), applied(1)]);
    assert_eq!(db.rows(TAGS).await, ["a|3", "b|2"]);
    db.sink.write(&recipe, &[tag(&recipe, "4", "b", 9), tag(&recipe, "5", "c", 5)]).await.unwrap();
    assert_eq!(db.rows(TAGS).await, ["a|3", "b|9", "c|5"]);
}

pub(crate) async fn children_of_an_ignored_row_are_not_written(db: Database) {
    let recipe = companies(&json!({"onConflict": "Ignore", "key": ["reg_num"]}));
    let first = company_as(&recipe, "1", "r", "first", 1);
    let second = company_as(&recipe, "2", "r", "second", 2);
    let third = company_as(&recipe, "3", "other", "third", 1);
    let outcomes = db.sink.write(&recipe, &[first, second, third]).await.unwrap();
    assert_eq!(outcomes, [applied(2), applied(1), applied(2)]);
    assert_eq!(db.rows(FAMILIES).await, ["r|first|p0", "other|third|p0"]);
}

pub(crate) async fn children_of_an_updated_row_refer_to_it(db: Database) {
    let recipe = companies(&json!({"onConflict": "Update", "key": ["reg_num"]}));
    assert_eq!(db.sink.validate(&recipe).await.unwrap(), Ok(()));
    let units = [company_as(&recipe, "1", "r", "first", 1), company_as(&recipe, "2", "s", "other", 1)];
    db.sink.write(&recipe, &units).await.unwrap();
    let units = [company_as(&recipe, "3", "r", "second", 2), company_as(&recipe, "4", "t", "new", 1)];
    assert_eq!(db.sink.write(&recipe, &units).await.unwrap(), [applied(3), applied(2)]);
    assert_eq!(db.rows(FAMILIES).await, ["r|second|p0", "r|second|p0", "r|second|p1", "s|other|p0", "t|new|p0"]);
}

/// The recipe's key is `name`; a duplicate of another unique column is not what the policy speaks of.
pub(crate) async fn only_the_named_key_counts(db: Database) {
    db.run("CREATE UNIQUE INDEX company_name ON company (name)").await;
    for policy in ["Ignore", "Update"] {
        let recipe = recipe(&json!([{"table": "company", "onConflict": policy, "key": ["name"],
            "columns": {"name": "record.name", "reg_num": "record.reg_num"}}]));
        let unit = |job: &str, name: &str, reg_num: &str| {
            let row = row(&recipe, 0, &[("name", text(name)), ("reg_num", text(reg_num))], Vec::new());
            Unit { key: key(&format!("{policy}-{job}")), rows: RowTree { rows: vec![row] } }
        };
        db.sink.write(&recipe, &[unit("1", "a", "1"), unit("2", "b", "2")]).await.unwrap();
        let outcomes = db.sink.write(&recipe, &[unit("3", "c", "1"), unit("4", "b", "3")]).await.unwrap();
        let (message, may_pass) = rejected(&outcomes[0]);
        assert!(message.to_lowercase().contains("reg_num") && !may_pass, "{policy}: {message}");
        assert_eq!(outcomes[1], applied(1), "{policy}");
    }
    assert_eq!(db.rows("SELECT name, reg_num FROM company ORDER BY name").await, ["a|1", "b|3"]);
}

/// A child whose parent row comes with another job may come later: the job is worth another try.
pub(crate) async fn a_missing_foreign_row_may_come(db: Database) {
    let recipe = recipe(&json!([{"table": "partner", "columns": {"company_id": "record.c", "name": "record.n"}}]));
    let row = row(&recipe, 0, &[("company_id", SqlValue::Int(1)), ("name", text("n"))], Vec::new());
    let unit = Unit { key: key("early"), rows: RowTree { rows: vec![row] } };
    let (message, may_pass) = rejected(&db.sink.write(&recipe, std::slice::from_ref(&unit)).await.unwrap()[0]);
    assert!(may_pass && message.starts_with("partner"), "{message}");
    let parents = companies(&json!({}));
    db.sink.write(&parents, &[company(&parents, "parent", 0)]).await.unwrap();
    assert_eq!(db.rows("SELECT id FROM company").await, ["1"]);
    assert_eq!(db.sink.write(&recipe, &[unit]).await.unwrap(), [applied(1)]);
}
