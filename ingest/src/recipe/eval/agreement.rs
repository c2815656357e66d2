//! The fast path and the interpreter must give the same value for any expression and any record.

use chrono::{DateTime, Utc};
use jobqueue_json::{Map, Number, Value as JsonValue, json};
use proptest::prelude::*;
use proptest::sample::select;

use super::expression::Expression;
use super::interpreter::{ItemVals, JobVals, Scope, interpreter};
use crate::JobInput;

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

/// Text that some function or other takes notice of.
const TEXTS: [&str; 14] = [
    "",
    " ",
    "x",
    "a",
    "2010-10-22",
    "2010-10-22T00:00:00+08:00",
    "2010年10月22日",
    "12.50",
    "1,234.5万元",
    "-7",
    "null",
    "not a date",
    "12345678901234567890",
    "{\"a\":1}",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => select(&TEXTS[..]).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

fn value() -> impl Strategy<Value = JsonValue> {
    let leaf = prop_oneof![
        2 => Just(JsonValue::Null),
        1 => any::<bool>().prop_map(JsonValue::from),
        2 => (-3_i64..4).prop_map(JsonValue::from),
        1 => any::<i64>().prop_map(JsonValue::from),
        1 => any::<u64>().prop_map(JsonValue::from),
        1 => (-4.0..4.0_f64).prop_map(JsonValue::from),
        1 => select(&["1.10", "-0", "1e2", "1E400", "0.123456789012345678", "123456789012345678901234567890"][..])
            .prop_map(|digits| JsonValue::Number(Number::parse(digits).unwrap())),
        5 => text().prop_map(JsonValue::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(JsonValue::from),
            3 => prop::collection::btree_map(select(&["a", "b", "c", "k k"][..]), inner, 0..5)
                .prop_map(|map| JsonValue::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    let root =
        select(&["record", "record", "item", "job.args[0]", "job.kwargs", "job.fields", "job.function", "job.id"][..]);
    let step = select(&[".a", ".b", ".c", "[0]", "[1]", "[\"k k\"]", "[\"a\"]"][..]);
    (root, prop::collection::vec(step, 0..4)).prop_map(|(root, steps)| format!("{root}{}", steps.concat()))
}

fn expression() -> impl Strategy<Value = String> {
    let literal = prop_oneof![
        text().prop_map(|s| serde_json::to_string(&s).unwrap().replace("\\u007f", "x")),
        (-3_i64..4).prop_map(|i| i.to_string()),
        (-3.0..4.0_f64).prop_map(|f| format!("{f:?}")),
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        Just("3u".to_owned()),
        Just("now()".to_owned()),
        Just("job.attempt".to_owned()),
        Just("job.enqueued_at".to_owned()),
    ];
    let leaf = prop_oneof![3 => path(), 1 => literal];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let e = inner.clone();
        let operator = select(&["+", "==", "!=", "<", "<=", ">", ">=", "&&", "||"][..]);
        let format = select(&["null", "\"iso\"", "\"%Y年%m月%d日\"", "[\"iso\", \"%Y年%m月%d日\"]"][..]);
        let unary = select(&["text", "number", "decimal", "date", "datetime", "json", "!", "size", "string", "-"][..]);
        prop_oneof![
            4 => (e.clone(), operator, e.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            3 => (e.clone(), e.clone(), e.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            3 => (unary, e.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            2 => (select(&["date", "datetime"][..]), e.clone(), format, e.clone())
                .prop_map(|(f, a, format, d)| format!("{f}({a}, {format}, {d})")),
            2 => (select(&["number", "decimal"][..]), e.clone(), e.clone()).prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            3 => (path(), e.clone()).prop_map(|(a, b)| format!("default({a}, {b})")),
            1 => (e.clone(), e).prop_map(|(a, b)| format!("default({a}, {b})")),
            2 => (path(), select(&["a", "b", "c"][..])).prop_map(|(a, f)| format!("has({a}.{f})")),
        ]
    })
}

/// Records whose fields mostly hold what their names say, so that well-typed expressions mostly succeed.
fn shaped() -> impl Strategy<Value = JsonValue> {
    let texts = || prop_oneof![6 => text().prop_map(JsonValue::from), 1 => Just(JsonValue::Null), 1 => value()];
    let numbers = || prop_oneof![6 => (-3_i64..4).prop_map(JsonValue::from), 1 => Just(JsonValue::Null), 1 => value()];
    let dates = || {
        let date = select(&["2010-10-22", "2010-10-22T23:00:00-08:00", "2010年10月22日", "", "2011-01-01"][..]);
        prop_oneof![6 => date.prop_map(JsonValue::from), 1 => Just(JsonValue::Null), 1 => value()]
    };
    let flat = || (texts(), numbers(), dates()).prop_map(|(t, n, d)| json!({"t": t, "n": n, "d": d}));
    (flat(), flat(), prop::collection::vec(flat(), 0..3), 0..20_u8).prop_map(|(mut record, map, list, gap)| {
        let fields = record.as_object_mut().unwrap();
        fields.extend([("m".to_owned(), map), ("l".to_owned(), JsonValue::from(list))]);
        if let Some(field) = ["t", "n", "d", "m", "l"].get(usize::from(gap)) {
            fields.remove(*field);
        }
        record
    })
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Date,
    Truth,
}

/// Expressions of a kind over [`shaped`] records.
fn typed(kind: Kind, depth: u32) -> BoxedStrategy<String> {
    let field = |name: &'static str| {
        let base = select(&["record", "record.m", "item", "item[\"m\"]", "record.l[0]", "job.args[0]"][..]);
        base.prop_map(move |base| format!("{base}.{name}"))
    };
    let leaf = match kind {
        Kind::Text => {
            prop_oneof![3 => field("t"), 1 => Just("\"x\"".to_owned()), 1 => Just("job.id".to_owned())].boxed()
        }
        Kind::Number => prop_oneof![3 => field("n"), 1 => (-3_i64..4).prop_map(|i| i.to_string())].boxed(),
        Kind::Date => field("d").prop_map(|d| format!("date({d}, [\"%Y年%m月%d日\", \"iso\"])")).boxed(),
        Kind::Truth => prop_oneof![
            (field(""), select(&["t", "n", "q"][..])).prop_map(|(base, f)| format!("has({base}{f})")),
            any::<bool>().prop_map(|b| b.to_string()),
        ]
        .boxed(),
    };
    if depth == 0 {
        return leaf;
    }
    let sub = move |kind| typed(kind, depth - 1);
    let any_kind = || select(&[Kind::Text, Kind::Number, Kind::Date, Kind::Truth][..]);
    let choice = (sub(Kind::Truth), sub(kind), sub(kind)).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})"));
    let fallback = (sub(kind), sub(kind)).prop_map(|(a, b)| format!("default({a}, {b})"));
    let compound = match kind {
        Kind::Text => prop_oneof![
            (sub(kind), sub(kind)).prop_map(|(a, b)| format!("({a} + {b})")),
            any_kind().prop_flat_map(sub).prop_map(|a| format!("text({a})")),
            sub(Kind::Number).prop_map(|a| format!("decimal({a}, \"0.50\")")),
        ]
        .boxed(),
        Kind::Number => (sub(kind), sub(kind)).prop_map(|(a, b)| format!("({a} + {b})")).boxed(),
        Kind::Date => (field("d"), sub(kind)).prop_map(|(d, b)| format!("date({d}, \"iso\", {b})")).boxed(),
        Kind::Truth => {
            let operator = select(&["==", "!=", "<", "<=", ">", ">="][..]);
            let compared = any_kind().prop_flat_map(move |kind| (typed(kind, depth - 1), typed(kind, depth - 1)));
            prop_oneof![
                3 => (compared, operator).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
                1 => (sub(kind), sub(kind)).prop_map(|(a, b)| format!("({a} && {b})")),
                1 => (sub(kind), sub(kind)).prop_map(|(a, b)| format!("({a} || {b})")),
                1 => sub(kind).prop_map(|a| format!("!{a}")),
                1 => any_kind().prop_flat_map(sub).prop_map(|a| format!("({a} == null)")),
            ]
            .boxed()
        }
    };
    prop_oneof![2 => leaf, 4 => compound, 1 => choice, 1 => fallback].boxed()
}

/// What both ways say: the fast value, if there is one, and the interpreter's.
fn both(source: &str, record: &JsonValue, item: &JsonValue) -> (Option<String>, Result<String, String>) {
    let parsed = interpreter().parse(source).unwrap_or_else(|e| panic!("{source}: {e:?}"));
    let expression = Expression::new(source, parsed, crate::TimeZone::default());
    let args = [record.clone()];
    let fields = Map::from_iter([("a".to_owned(), item.clone())]);
    let job = JobInput {
        id: "job",
        queue: "queue",
        function: Some("f").filter(|_| record.is_object()),
        args: &args[..usize::from(!matches!(item, JsonValue::Bool(_)))],
        kwargs: record.as_object().unwrap_or(&fields),
        fields: &fields,
        attempt: 1,
        enqueued_at: record.is_array().then(now),
    };
    let interrupt = crate::Interrupt::default();
    let job_vals = JobVals::new(&job, Some(record), now(), &interrupt);
    let vals = ItemVals::new(&job_vals, item);
    let scope = Scope { job: &job, record: Some(record), item: Some(item), now: now(), vals: &vals };
    let fast = expression.evaluate_on_fast_path(&scope).map(|d| format!("{d:?}"));
    (fast, expression.interpret(&scope).map(|d| format!("{d:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_agrees_with_the_interpreter(source in expression(), record in value(), item in value()) {
        let (fast, interpreted) = both(&source, &record, &item);
        if let Some(fast) = fast {
            prop_assert_eq!(Ok(fast), interpreted, "{} on {} and {}", source, record, item);
        }
    }

    #[test]
    fn the_fast_path_agrees_on_well_typed_expressions(
        source in select(&[Kind::Text, Kind::Number, Kind::Date, Kind::Truth][..]).prop_flat_map(|kind| typed(kind, 2)),
        record in shaped(),
        item in shaped(),
    ) {
        let (fast, interpreted) = both(&source, &record, &item);
        if let Some(fast) = fast {
            prop_assert_eq!(Ok(fast), interpreted, "{} on {} and {}", source, record, item);
        }
    }
}

#[test]
fn the_common_forms_take_the_fast_path() {
    let record = json!({"Company": {"Name": "n", "StartDate": "2010-10-22T00:00:00+08:00", "Capital": "5.00万元", "No": 7,
        "Area": null, "Partners": [{"Name": "p"}]}});
    for source in [
        "record.Company.Name",
        "record.Company[\"Name\"]",
        "record.Company.Partners[0].Name",
        "item.a",
        "job.id",
        "job.args[0].Company.No",
        "\"\"",
        "now()",
        "\"http://example.com/\" + record.Company.Name + \"/\"",
        "date(record.Company.StartDate)",
        "date(record.Company.Area, \"%Y年%m月%d日\", \"1900-01-01\")",
        "date(record.Company.StartDate, [\"%Y年%m月%d日\", \"iso\"])",
        "number(record.Company.Capital)",
        "decimal(record.Company.Capital, \"0\")",
        "text(record.Company.No)",
        "default(record.Company.Area.City, \"\")",
        "has(record.Company.Area) && record.Company.Area != null ? record.Company.Area.City : \"none\"",
        "record.Company.No >= 7",
    ] {
        let (fast, interpreted) = both(source, &record, &json!({"a": 1}));
        assert!(fast.is_some(), "{source} is left to the interpreter");
        assert_eq!(Ok(fast.unwrap()), interpreted, "{source}");
    }
}
