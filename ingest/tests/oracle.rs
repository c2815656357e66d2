//! What arrives in a column is what the database makes of the producer's own digits: drawn numbers go through a recipe and
//! a sink into one table and, as they are, by plain SQL into another; both hold the same, or neither takes it.
//!
//! Where a sink is stricter than its database, [`Rule`] says so. `ORACLE_LITERALS` is how many numbers are drawn for each
//! column (`./dev prove` draws more).

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "oracle/literals.rs"]
mod literals;
#[path = "oracle/plain.rs"]
mod plain;

use std::time::Instant;

use chrono::DateTime;
use jobqueue_ingest::{
    IngestSpec, JobInput, LedgerKey, Recipe, Sink, SinkOptions, Unit, UnitOutcome, connect, run_script,
};
use jobqueue_json::{Digits, Map};
use serde_json::json;

use crate::plain::Plain;

/// How plain SQL writes the number.
#[derive(Debug, Clone, Copy)]
enum Written {
    /// `1.5`
    Bare,
    /// `'1.5'`, for columns that are no numbers or that read a text otherwise than SQL's own literals.
    Quoted,
    /// As a literal, but quoted with an exponent, which makes it a double for MariaDB whatever the column.
    QuotedExponent,
    /// Between these words.
    Within(&'static str, &'static str),
}

/// Where the sink differs from plain SQL on purpose.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Never.
    Same,
    /// Never, since the sink leaves everything to the database.
    Left,
    /// A fraction does not get lost in silence in a column of whole numbers.
    Whole,
    /// No infinities for what is too large.
    Finite,
    /// SQLite makes a double of what is written with a fraction or an exponent, or too large for 64 bits. Here whole numbers
    /// of 64 bits are exact however they are written, and nothing else is taken.
    Whole64,
    /// As `Whole64`, but a fraction is taken with up to 15 digits, which a double keeps. The declared type allows so many
    /// digits before the point.
    Exact(u64),
    /// A number that a double would change is text, which has all digits.
    ExactOrText,
    /// A number that is no member is not taken for a place in the list.
    Member(&'static [&'static str]),
}

impl Rule {
    fn judged_by_database(self) -> bool {
        matches!(self, Self::Left)
    }
}

/// A type of column: how it is declared, how its value is read as text, and the two above. The record has the number
/// itself, or a list of it.
struct Kind(&'static str, &'static str, Written, Rule);

impl Kind {
    /// What the table must hold, if `plain` is what plain SQL left.
    fn expected(&self, literal: &str, plain: Option<String>) -> Option<String> {
        let digits = Digits::parse(literal).unwrap();
        let double: f64 = literal.parse().unwrap();
        let changed = digits.significant() > 15 || double.is_infinite() || (double == 0.0 && digits.significant() > 0);
        let whole = digits.to_integer().and_then(|number| i64::try_from(number).ok());
        match self.3 {
            Rule::Finite => plain.filter(|_| double.is_finite()),
            Rule::Whole => plain.filter(|_| digits.places() == 0),
            Rule::Whole64 => whole.map(|number| format!("integer {number}")),
            Rule::Exact(most) if digits.whole() > most => None,
            Rule::Exact(_) if whole.is_some() => whole.map(|number| format!("integer {number}")),
            Rule::Exact(_) => plain.filter(|_| !changed),
            Rule::ExactOrText if changed && literal.parse::<i64>().is_err() => Some(format!("text '{literal}'")),
            Rule::Same | Rule::Left | Rule::ExactOrText => plain,
            Rule::Member(members) => plain.filter(|_| members.contains(&literal)),
        }
    }
}

/// Numbers of one column, written in batches and, the traps, one by one with another statement.
struct Column<'a> {
    kind: &'a Kind,
    table: String,
    literals: Vec<String>,
}

impl Column<'_> {
    fn recipe(&self, policy: &serde_json::Value) -> Recipe {
        let mut table = json!({"table": self.table, "columns": {"n": "record.n", "v": "record.v"}});
        table.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        let specs: Vec<IngestSpec> = serde_json::from_value(json!([{"tables": [table]}])).unwrap();
        Recipe::compile(&specs).unwrap()
    }

    async fn write(&self, sink: &dyn Sink) {
        let batched = self.recipe(&json!({}));
        let numbers: Vec<usize> = (0..self.literals.len()).collect();
        for batch in numbers.chunks(25) {
            let units: Vec<Unit> = batch.iter().filter_map(|&n| self.unit(&batched, n, n)).collect();
            written(&sink.write(&batched, &units).await.unwrap(), self.kind.3);
        }
        let alone = self.recipe(&json!({"onConflict": "Update", "key": ["n"]}));
        for n in 0..self.alone() {
            let unit = self.unit(&alone, n, self.literals.len() + n);
            written(&sink.write(&alone, unit.as_slice()).await.unwrap(), self.kind.3);
        }
    }

    /// How many are written alone. What the database refuses ends up alone anyway.
    fn alone(&self) -> usize {
        if self.kind.3.judged_by_database() { 0 } else { literals::TRAPS.len() }
    }

    /// The job that writes the literal `n` in row `row`, as a worker makes it from a record.
    fn unit(&self, recipe: &Recipe, n: usize, row: usize) -> Option<Unit> {
        let literal = &self.literals[n];
        let value = if self.kind.0.ends_with("[]") { format!("[{literal}]") } else { literal.clone() };
        let args = [format!("{{\"n\": {row}, \"v\": {value}}}").into()];
        let none = Map::new();
        let id = format!("{}-{row}", self.table);
        let job = JobInput {
            id: &id,
            queue: "q",
            function: None,
            args: &args,
            kwargs: &none,
            fields: &none,
            attempt: 1,
            enqueued_at: None,
        };
        let rows = recipe.rows(&job, DateTime::UNIX_EPOCH).ok()?;
        let key = LedgerKey { queue: "q".into(), job_id: id, created_at: String::new(), generation: 0, run: None };
        Some(Unit { key, rows })
    }

    /// Compares; returns how many cases there were, how many were stored, and what differs.
    async fn judge(&self, plain: &mut Plain) -> (usize, usize, Vec<String>) {
        let theirs = plain.write(self.kind, &self.table, &self.literals).await;
        let ours = plain.read(&self.table, self.kind.1).await;
        let traps = self.alone();
        let rows = (0..self.literals.len()).chain(0..traps).enumerate();
        let differs = rows.filter_map(|(row, n)| {
            let (literal, ours) = (&self.literals[n], ours.get(&row));
            let expected = self.kind.expected(literal, theirs.get(&n).cloned());
            (ours != expected.as_ref())
                .then(|| format!("{} from {literal}: {ours:?}, expected {expected:?}", self.kind.0))
        });
        (self.literals.len() + traps, ours.len(), differs.collect())
    }
}

/// A refusal names the column, unless it is PostgreSQL's of a row that was not copied.
fn written(outcomes: &[UnitOutcome], rule: Rule) {
    for outcome in outcomes {
        match outcome {
            UnitOutcome::Applied { rows: 1 } => {}
            UnitOutcome::Rejected(rejection) => {
                let message = &rejection.message;
                let named = [".v:", "column v:", "column 'v'"].iter().any(|name| message.contains(name));
                // The last cent of `money` is for PostgreSQL to say.
                let excused = matches!(rule, Rule::Left) || message.ends_with("is out of range for type money");
                assert!(!rejection.may_pass && (named || excused), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn agrees(mut plain: Plain, kinds: &[Kind]) {
    let drawn = std::env::var("ORACLE_LITERALS").map_or(100, |count| count.parse().unwrap());
    let sink = connect(&plain.url.parse().unwrap(), SinkOptions::default()).await.unwrap();
    sink.ensure_ledger().await.unwrap();
    let (began, mut cases, mut stored, mut differs) = (Instant::now(), 0, 0, Vec::new());
    for (index, kind) in kinds.iter().enumerate() {
        // Each refusal by the database costs a batch some rounds.
        let drawn = if kind.3.judged_by_database() { drawn / 5 } else { drawn };
        let column = Column { kind, table: format!("t{index}"), literals: literals::draw(index as u64, drawn) };
        let script = format!(
            "CREATE TABLE t{index} (n INTEGER NOT NULL PRIMARY KEY, v {0}); \
             CREATE TABLE plain_t{index} (n INTEGER NOT NULL PRIMARY KEY, v {0})",
            kind.0
        );
        run_script(&plain.url.parse().unwrap(), &script).await.unwrap();
        column.write(sink.as_ref()).await;
        let (count, held, found) = column.judge(&mut plain).await;
        cases += count;
        stored += held;
        differs.extend(found);
    }
    println!("{cases} cases, {stored} of them stored, {} differ, in {:.1?}", differs.len(), began.elapsed());
    // Otherwise nothing was asked.
    assert!(stored > cases / 5, "only {stored} of {cases} were stored");
    assert!(
        differs.is_empty(),
        "{} of {cases} cases differ:\n{}",
        differs.len(),
        differs[..differs.len().min(30)].join("\n")
    );
}

#[tokio::test]
async fn postgres() {
    use {Rule::Same, Rule::Whole, Written::Bare, Written::Quoted};
    let kinds = [
        Kind("smallint", "v::text", Bare, Whole),
        Kind("integer", "v::text", Bare, Whole),
        Kind("bigint", "v::text", Bare, Whole),
        Kind("numeric", "v::text", Bare, Same),
        Kind("numeric(10,2)", "v::text", Bare, Same),
        Kind("numeric(38,18)", "v::text", Bare, Same),
        Kind("numeric(5,0)", "v::text", Bare, Same),
        Kind("numeric(6,-2)", "v::text", Bare, Rule::Left),
        Kind("numeric(3,5)", "v::text", Bare, Rule::Left),
        Kind("real", "v::text", Quoted, Same),
        Kind("double precision", "v::text", Quoted, Same),
        Kind("money", "v::text", Bare, Same),
        Kind("text", "v::text", Quoted, Same),
        Kind("varchar(10)", "v::text", Quoted, Same),
        Kind("jsonb", "v::text", Quoted, Same),
        Kind("json", "v::text", Quoted, Same),
        Kind("bigint[]", "v::text", Written::Within("'{", "}'"), Rule::Left),
        Kind("numeric(10,2)[]", "v::text", Written::Within("'{", "}'"), Rule::Left),
    ];
    agrees(Plain::postgres().await, &kinds).await;
}

#[tokio::test]
async fn mariadb() {
    use {Rule::Same, Rule::Whole, Written::Bare, Written::Quoted, Written::QuotedExponent};
    let kinds = [
        Kind("TINYINT", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("SMALLINT", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("MEDIUMINT", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("INT", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("BIGINT", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("TINYINT UNSIGNED", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("INT UNSIGNED", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("BIGINT UNSIGNED", "CAST(v AS CHAR)", QuotedExponent, Whole),
        Kind("DECIMAL(10,2)", "CAST(v AS CHAR)", QuotedExponent, Same),
        Kind("DECIMAL(38,18)", "CAST(v AS CHAR)", QuotedExponent, Same),
        Kind("DECIMAL(65,0)", "CAST(v AS CHAR)", QuotedExponent, Same),
        Kind("FLOAT", "CAST(CAST(v AS DOUBLE) AS CHAR)", Quoted, Same),
        Kind("DOUBLE", "CAST(v AS CHAR)", Quoted, Same),
        Kind("VARCHAR(10)", "CAST(v AS CHAR)", Quoted, Same),
        Kind("JSON", "CAST(v AS CHAR)", Quoted, Same),
        Kind("ENUM('0','1','2')", "CAST(v AS CHAR)", Quoted, Rule::Member(&["0", "1", "2"])),
        Kind("SET('1','7','1.10')", "CAST(v AS CHAR)", Quoted, Rule::Member(&["1", "7", "1.10"])),
        Kind("BIT(8)", "CAST(v + 0 AS CHAR)", Bare, Whole),
        Kind("YEAR", "CAST(v AS CHAR)", Bare, Whole),
    ];
    agrees(Plain::mariadb().await, &kinds).await;
}

#[tokio::test]
async fn sqlite() {
    use {Rule::Exact, Rule::Same, Written::Bare, Written::Quoted};
    const SHOWN: &str = "typeof(v) || ' ' || quote(v)";
    let kinds = [
        Kind("INTEGER", SHOWN, Bare, Rule::Whole64),
        Kind("REAL", SHOWN, Bare, Rule::Finite),
        Kind("NUMERIC", SHOWN, Bare, Exact(u64::MAX)),
        Kind("DECIMAL(15,12)", SHOWN, Bare, Exact(3)),
        Kind("MONEY", SHOWN, Bare, Exact(u64::MAX)),
        Kind("TEXT", SHOWN, Quoted, Same),
        Kind("STRING CHARACTERS", SHOWN, Quoted, Same),
        Kind("BLOB", SHOWN, Written::Within("CAST('", "' AS BLOB)"), Same),
        Kind("", SHOWN, Bare, Rule::ExactOrText),
    ];
    agrees(Plain::sqlite().await, &kinds).await;
}
