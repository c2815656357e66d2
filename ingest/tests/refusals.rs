//! One bad record is one failed job, whatever the database says: every error that a trigger can raise for a record of a
//! batch, policies, partitions that are not there, and servers that speak other languages. Beside them what looks the same
//! and is an outage, for which no job fails.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "refusals/cost.rs"]
mod cost;
#[path = "refusals/errors.rs"]
mod errors;
#[path = "conformance/fixture.rs"]
mod fixture;
#[path = "refusals/outages.rs"]
mod outages;
#[path = "refusals/places.rs"]
mod places;
#[path = "refusals/sqlstates.rs"]
mod sqlstates;

use jobqueue_ingest::{Recipe, RowTree, Sink, SqlValue, Unit};
use serde_json::json;

/// Jobs in a batch.
const BATCH: usize = 100;

fn tags() -> Recipe {
    fixture::recipe(&json!([{"table": "tag", "columns": {"label": "record.l", "weight": "record.w"}}]))
}

fn tag(recipe: &Recipe, label: &str) -> Unit {
    let values = [("label", fixture::text(label)), ("weight", SqlValue::Int(1))];
    Unit { key: fixture::key(label), rows: RowTree { rows: vec![fixture::row(recipe, 0, &values, Vec::new())] } }
}

/// A batch with one label at which a trigger takes offence, in its middle.
fn batch(recipe: &Recipe, bad: &str) -> Vec<Unit> {
    let label = |n: usize| if n == 37 { bad.to_owned() } else { format!("{n} beside {bad}") };
    (0..BATCH).map(|n| tag(recipe, &label(n))).collect()
}

/// Writes it: the words and the `may_pass` of the one that is refused; all others are in.
async fn refused(sink: &dyn Sink, recipe: &Recipe, bad: &str) -> (String, bool) {
    let outcomes = sink.write(recipe, &batch(recipe, bad)).await.unwrap_or_else(|error| panic!("{bad}: {error}"));
    let others = outcomes.iter().filter(|outcome| **outcome == fixture::applied(1)).count();
    assert_eq!(others, BATCH - 1, "{bad}: {outcomes:?}");
    fixture::rejected(&outcomes[37])
}

/// The label is `!` and what to raise.
const RAISE_IN_POSTGRES: &str = "
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.label LIKE '!%' THEN
        RAISE EXCEPTION USING ERRCODE = substr(new.label, 2, 5), MESSAGE = 'not ' || new.label, DETAIL = 'in detail';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON tag FOR EACH ROW EXECUTE FUNCTION refuse();
";

const RAISE_IN_MARIADB: &str = "
CREATE TRIGGER refuse BEFORE INSERT ON tag FOR EACH ROW BEGIN
    DECLARE number INT;
    DECLARE words VARCHAR(40);
    IF NEW.label LIKE '!%' THEN
        SET number = SUBSTR(NEW.label, 2);
        SET words = CONCAT('not ', NEW.label);
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = number, MESSAGE_TEXT = words;
    END IF;
END
";
