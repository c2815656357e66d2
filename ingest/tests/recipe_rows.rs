//! What recipes make of jobs: which recipe serves, loops and conditions, the values of columns, and the words of errors.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_ingest::{IngestSpec, Interrupt, JobInput, Recipe, RecipeError, RowTree, SqlValue};
use jobqueue_json::{Map, Value, json};

fn compile(yaml: &str) -> Recipe {
    let specs: Vec<IngestSpec> = serde_yaml::from_str(yaml).unwrap();
    Recipe::compile(&specs).unwrap_or_else(|p| panic!("{p:?}"))
}

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn run(recipe: &Recipe, function: Option<&str>, args: &[Value]) -> Result<RowTree, RecipeError> {
    let (kwargs, fields) =
        (Map::from_iter([("k".to_owned(), json!("kw"))]), Map::from_iter([("f".to_owned(), json!("{}"))]));
    let job = JobInput {
        id: "j1",
        queue: "q",
        function,
        args,
        kwargs: &kwargs,
        fields: &fields,
        attempt: 2,
        enqueued_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
    };
    recipe.rows(&job, now())
}

/// A recipe of one table with one column.
fn column(expression: &str) -> Recipe {
    let spec = serde_json::json!([{"tables": [{"table": "t", "columns": {"c": expression}}]}]);
    Recipe::compile(&serde_json::from_value::<Vec<IngestSpec>>(spec).unwrap()).unwrap_or_else(|p| panic!("{p:?}"))
}

fn value(expression: &str, record: &Value) -> SqlValue {
    let tree = run(&column(expression), None, std::slice::from_ref(record)).unwrap_or_else(|e| panic!("{e}"));
    tree.rows[0].values[0].clone()
}

fn error(expression: &str, record: &Value) -> String {
    run(&column(expression), None, std::slice::from_ref(record)).unwrap_err().to_string()
}

fn text(s: &str) -> SqlValue {
    SqlValue::Text(s.into())
}

#[test]
fn the_function_chooses_the_recipe() {
    let recipe = compile(
        "[{functions: [m.a, m.b], tables: [{table: ab, columns: {c: '1'}}]}, {functions: [m.c], tables: [{table: c, columns: {c: '1'}}]}]",
    );
    let table = |function| run(&recipe, function, &[json!({})]).map(|t| recipe.tables[t.rows[0].table].table.clone());
    assert_eq!(table(Some("m.b")).unwrap(), "ab");
    assert_eq!(table(Some("m.c")).unwrap(), "c");
    assert_eq!(
        table(Some("m.d")).unwrap_err().to_string(),
        "no recipe serves function m.d; this queue serves: m.a, m.b, m.c"
    );
    assert_eq!(
        table(None).unwrap_err().to_string(),
        "the job names no function, and this queue serves only: m.a, m.b, m.c"
    );

    let rest = compile(
        "[{functions: [m.a], tables: [{table: a, columns: {c: '1'}}]}, {tables: [{table: rest, columns: {c: '1'}}]}]",
    );
    let table = |function| rest.tables[run(&rest, function, &[json!({})]).unwrap().rows[0].table].table.clone();
    assert_eq!((table(Some("m.a")), table(Some("m.z")), table(None)), ("a".into(), "rest".into(), "rest".into()));
}

#[test]
fn loops_and_conditions_decide_which_rows_there_are() {
    let recipe = compile(
        r"
- tables:
    - table: orders
      forEach: record.orders
      when: item.amount > 0
      columns: {no: item.no}
      children:
        - table: line
          forEach: item.lines
          columns: {order_id: parent.id, what: item}
        - table: note
          when: has(item.note)
          columns: {order_id: parent.id, note: item.note}
",
    );
    let record = json!({"orders": [
        {"no": 1, "amount": 5, "lines": ["a", "b"], "note": "n"},
        {"no": 2, "amount": 0, "lines": ["c"]},
        {"no": 3, "amount": 1, "lines": null},
    ]});
    let tree = run(&recipe, None, &[record]).unwrap();
    let shown: Vec<_> = tree
        .rows
        .iter()
        .map(|r| (r.values.clone(), r.children.iter().map(|c| (c.table, c.values.clone())).collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        shown,
        [
            (
                vec![SqlValue::Int(1)],
                vec![
                    (1, vec![SqlValue::ParentId, text("a")]),
                    (1, vec![SqlValue::ParentId, text("b")]),
                    (2, vec![text("n"), SqlValue::ParentId]),
                ]
            ),
            (vec![SqlValue::Int(3)], vec![]),
        ]
    );
    assert_eq!(run(&recipe, None, &[json!({"orders": null})]).unwrap(), RowTree::default());

    let fails = |record: Value| run(&recipe, None, &[record]).unwrap_err().to_string();
    assert_eq!(
        fails(json!({"orders": {"no": 1}})),
        "orders.forEach: record.orders: must be a list, but is a map ({\"no\":1})"
    );
    assert_eq!(fails(json!({})), "orders.forEach: record.orders: no such key: orders");
    assert_eq!(
        fails(json!({"orders": [{"no": 1, "amount": "5"}]})),
        "orders[0].when: item.amount > 0: > does not work with text (\"5\") and a number (0)"
    );
    let not_a_condition = compile("[{tables: [{table: t, when: record.a, columns: {c: '1'}}]}]");
    let message = run(&not_a_condition, None, &[json!({"a": "yes"})]).unwrap_err().to_string();
    assert_eq!(message, "t.when: record.a: must be true or false, but is text (\"yes\")");
}

#[test]
fn values_keep_their_types() {
    let record =
        json!({"i": 7, "big": u64::MAX, "f": 1.5, "b": true, "s": "x", "n": null, "l": [1, "a"], "m": {"k": null}});
    for (expression, expected) in [
        ("record.i", SqlValue::Int(7)),
        ("record.i + 1", SqlValue::Int(8)),
        ("record.big", SqlValue::UInt(u64::MAX)),
        ("3u", SqlValue::UInt(3)),
        ("record.f", SqlValue::Number("1.5".into())),
        ("record.b", SqlValue::Bool(true)),
        ("record.s", text("x")),
        ("record.n", SqlValue::Null),
        ("null", SqlValue::Null),
        ("b\"ab\"", SqlValue::Bytes(b"ab".to_vec())),
        ("record.l", SqlValue::Json(json!([1, "a"]))),
        ("record.m", SqlValue::Json(json!({"k": null}))),
        ("record.l.map(x, {\"v\": x})", SqlValue::Json(json!([{"v": 1}, {"v": "a"}]))),
        (
            "record.l + [date(\"2010-10-22\"), now()]",
            SqlValue::Json(json!([1, "a", "2010-10-22", "2026-01-02T03:04:05Z"])),
        ),
        ("now()", SqlValue::Timestamp(now())),
        ("timestamp(\"2010-10-22T00:00:00+08:00\")", SqlValue::Timestamp("2010-10-21T16:00:00Z".parse().unwrap())),
        ("date(\"2010-10-22T00:00:00+08:00\")", SqlValue::Date("2010-10-22".parse().unwrap())),
        ("datetime(\"2010-10-22T07:08:09+08:00\")", SqlValue::DateTime("2010-10-22T07:08:09".parse().unwrap())),
        ("date(\"2010-10-22\") < date(\"2010-10-23\")", SqlValue::Bool(true)),
        ("text(date(datetime(\"2010-10-22T07:08\")))", text("2010-10-22")),
        ("record.?nothing.?at.?all", SqlValue::Null),
        ("record.?s", text("x")),
        ("record.?s.orValue(\"y\")", text("x")),
        ("json(\"{\\\"a\\\": [1]}\").a[0]", SqlValue::Int(1)),
        ("json(record.m)", SqlValue::Json(json!({"k": null}))),
        ("text(record.m)", text("{\"k\":null}")),
        ("number(\"12.50元\") * 2.0", SqlValue::Float(25.0)),
        ("decimal(\"12.50元\")", text("12.50")),
        ("\"é\".size()", SqlValue::Int(1)),
    ] {
        assert_eq!(value(expression, &record), expected, "{expression}");
    }
}

/// A number that is only passed on is the producer's text, whichever way the expression is evaluated.
#[test]
fn numbers_of_the_record_keep_their_digits() {
    let record = jobqueue_json::parse(
        r#"{"a": 1.10, "wei": 123456789012345678901234567890, "tiny": 1e-7, "n": null, "l": [{"p": 2.50}]}"#,
    )
    .unwrap();
    let number = |digits: &str| SqlValue::Number(digits.into());
    let json = |text: &str| SqlValue::Json(jobqueue_json::parse(text).unwrap());
    for (expression, expected) in [
        ("record.a", number("1.10")),
        ("record.wei", number("123456789012345678901234567890")),
        ("record.l[0].p", number("2.50")),
        ("record.n == null ? record.a : 0.0", number("1.10")),
        ("default(record.n, record.tiny)", number("1e-7")),
        ("string(record.a)", text("1.10")),
        ("text(record.tiny)", text("1e-7")),
        ("decimal(record.wei)", text("123456789012345678901234567890")),
        ("record.l", json("[{\"p\":2.50}]")),
        // The interpreter's share.
        ("record.l.map(x, x.p)[0]", number("2.50")),
        ("record.l.map(x, string(x.p)).join(\"\")", text("2.50")),
        ("[record.wei, record.a]", json("[123456789012345678901234567890,1.10]")),
        ("{\"x\": record.tiny}", json("{\"x\":1e-7}")),
        ("json(\"[0.30]\")[0]", number("0.30")),
        ("record.?a", number("1.10")),
        // What computes gives doubles.
        ("record.a + 1.0", SqlValue::Float(2.1)),
        ("record.l.map(x, x.p * 2.0)[0]", SqlValue::Float(5.0)),
        ("2.0 * record.a", SqlValue::Float(2.2)),
        ("-record.a", SqlValue::Float(-1.1)),
        ("double(record.a)", SqlValue::Float(1.1)),
        ("int(record.a)", SqlValue::Int(1)),
        ("number(record.a)", SqlValue::Float(1.1)),
        ("record.a == 1.1 && 1.1 == record.a && record.a < 2 && 1 < record.a", SqlValue::Bool(true)),
        ("record.l.exists(x, x.p > 2.4 && 2.6 > x.p)", SqlValue::Bool(true)),
        ("record.a == record.l[0].p", SqlValue::Bool(false)),
        ("record.a in [1.1]", SqlValue::Bool(true)),
    ] {
        assert_eq!(value(expression, &record), expected, "{expression}");
    }
    assert_eq!(error("record.a.b", &record), "t.c: record.a.b: record.a is a number (1.10), so it has no b");
    assert_eq!(
        error("record.l[0].p + 1", &record),
        "t.c: record.l[0].p + 1: + does not work with a number (2.50) and a number (1)"
    );
    assert_eq!(error("has(record.a.b)", &record), "t.c: has(record.a.b): record.a is a number (1.10), so it has no b");
}

#[test]
fn default_stands_in_for_what_is_missing_at_any_step() {
    let record = json!({"a": {"b": {"c": 1}, "n": null}, "l": [{"x": 1}]});
    for (expression, expected) in [
        ("default(record.a.b.c, 9)", 1),
        ("default(record.a.b.d, 9)", 9),
        ("default(record.q.b.c, 9)", 9),
        ("default(record.a.n.c, 9)", 9),
        ("default(record.a.n, 9)", 9),
        ("default(record[\"a\"][\"q\"], 9)", 9),
        ("default(record.l[0].x, 9)", 1),
        ("default(record.l[1].x, 9)", 9),
        ("default(record.?q, 9)", 9),
        ("default(record.q, default(record.r, 9))", 9),
        ("[1].map(x, default(record.q, x + 8))[0]", 9),
        ("default(json(\"{}\").a, 9)", 9),
    ] {
        assert_eq!(value(expression, &record), SqlValue::Int(expected), "{expression}");
    }
    assert_eq!(
        error("default(record.a.b.c.d, 9)", &record),
        "t.c: default(record.a.b.c.d, 9): record.a.b.c is a number (1), so it has no d"
    );
}

#[test]
fn errors_name_the_place_the_expression_and_the_value() {
    let record = json!({"a": {"b": null, "s": "text", "l": [1]}, "long": "长".repeat(500)});
    for (expression, reason) in [
        ("record.a.x", "no such key: x"),
        ("record.a.x.y", "no such key: x"),
        ("record.a.b.c", "record.a.b is null, so it has no c"),
        ("record.a.s.c", "record.a.s is text (\"text\"), so it has no c"),
        ("record.a[\"x y\"]", "no such key: x y"),
        ("record.a.l[3]", "no element 3: record.a.l has 1"),
        ("record.a.l.c", "record.a.l is a list ([1]), so it has no c"),
        ("record.a.s + 1", "+ does not work with text (\"text\") and a number (1)"),
        ("record.a.b + \"x\"", "+ does not work with null and text (\"x\")"),
        ("1 / (1 - 1)", "division by zero"),
        (
            "9223372036854775807 + 1",
            "the result of + is too large with a number (9223372036854775807) and a number (1)",
        ),
        ("record.a.s.startsWith(1)", "startsWith() does not work with text (\"text\") and a number (1)"),
        ("record.a.b.trim()", "trim() does not work with null"),
        ("has(record.a.s.c)", "record.a.s is text (\"text\"), so it has no c"),
        ("record.a.s ? 1 : 2", "the condition of ?: does not work with text (\"text\")"),
        ("record.a.b.map(x, x)", "the loop does not work with null"),
        ("true ? record.a.x : 1", "no such key: x"),
        ("text(date(record.a.s))", "\"text\" is not a date in ISO 8601 (2010-10-22, or 2010-10-22T08:00:00+08:00)"),
        ("number(record.a.s)", "\"text\" is not a number"),
        ("duration(\"1s\")", "a duration cannot be stored in a column"),
        ("json(record.a.s).x", "not valid JSON at line 1 column 2: expected ident; the text is \"text\""),
        ("int(record.a.s)", "failed"),
    ] {
        let message = error(expression, &record);
        if reason == "failed" {
            assert!(message.starts_with(&format!("t.c: {expression}: ")), "{message}");
        } else {
            assert_eq!(message, format!("t.c: {expression}: {reason}"));
        }
    }
    let message = error("date(record.long)", &record);
    let shown = "长".repeat(60);
    assert!(message.contains(&format!("\"{shown}\"... (500 characters) is not a date")), "{message}");
}

#[test]
fn the_record_may_be_anywhere_and_text_is_parsed() {
    let record = |expression: &str, args: &[Value]| {
        let spec = serde_json::json!([{"record": expression, "tables": [{"table": "t", "columns": {"c": "record"}}]}]);
        let recipe = Recipe::compile(&serde_json::from_value::<Vec<IngestSpec>>(spec).unwrap()).unwrap();
        run(&recipe, None, args).map(|t| t.rows[0].values[0].clone()).map_err(|e| e.to_string())
    };
    assert_eq!(record("job.args[1]", &[json!(0), json!("[1]")]), Ok(SqlValue::Json(json!([1]))));
    assert_eq!(record("job.args[0].x", &[json!({"x": "7"})]), Ok(SqlValue::Int(7)));
    assert_eq!(record("job.kwargs", &[]), Ok(SqlValue::Json(json!({"k": "kw"}))));
    assert_eq!(record("job.fields.f", &[]), Ok(SqlValue::Json(json!({}))));
    assert_eq!(
        record(
            "{\"id\": job.id, \"n\": job.attempt, \"at\": job.enqueued_at, \"q\": job.queue, \"f\": job.function}",
            &[]
        ),
        Ok(SqlValue::Json(json!({"id": "j1", "n": 2, "at": "2026-01-01T00:00:00Z", "q": "q", "f": null})))
    );
    assert_eq!(record("job.args[0]", &[]), Err("record: job.args[0]: no element 0: job.args has 0".into()));
    assert_eq!(
        run(&column("record"), None, &[]).unwrap_err().to_string(),
        "record: job.args[0]: the job has no arguments"
    );
    assert_eq!(
        record("job.args[0]", &[json!("{")]),
        Err("record: job.args[0]: not valid JSON at line 1 column 1: EOF while parsing an object; the text is \"{\""
            .into())
    );
}

#[test]
fn deep_records_are_refused_before_anything_recurses() {
    let deep = (0..20_000).fold(String::new(), |s, _| s + "[");
    let message = error("record", &json!(deep));
    assert!(
        message.contains("recursion limit exceeded at line 1") || message.contains("recursion limit exceeded;"),
        "{message}"
    );
    let nested = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(error("record", &nested), "the job's data is nested deeper than 128 levels");
}

#[test]
fn an_interrupt_ends_any_loop_within_a_turn() {
    let loops = [
        "string(size(record.l.filter(x, record.l.exists(y, y == x + 1000000))))",
        "string(size(record.l.map(x, record.l.map(y, y + x))))",
        "string(record.l.all(x, record.l.all(y, x + y >= 0)))",
        "string([record.l].all(l, l.exists_one(x, l.exists_one(y, x == y))))",
        "string([record.l].all(l, l.all(x, size(l.filter(y, y == x)) == 1)))",
    ];
    for expression in loops {
        let recipe = column(expression);
        let record = [json!({"l": (0..30_000).collect::<Vec<u32>>()})];
        let (nothing, interrupt) = (Map::new(), Interrupt::default());
        let job = JobInput {
            id: "j1",
            queue: "q",
            function: None,
            args: &record,
            kwargs: &nothing,
            fields: &nothing,
            attempt: 1,
            enqueued_at: None,
        };
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| recipe.rows_unless(&interrupt, &job, now()));
            std::thread::sleep(Duration::from_millis(200));
            assert!(!slow.is_finished(), "{expression} is no slow loop");
            interrupt.set();
            let set = Instant::now();
            slow.join().unwrap().unwrap_err();
            assert!(set.elapsed() < Duration::from_secs(2), "{expression} went on for {:?}", set.elapsed());
        });
    }
}

#[test]
fn loops_give_what_they_gave_before_they_could_be_interrupted() {
    let record = json!({"l": [3, 1, 2, 1]});
    for (expression, expected) in [
        ("record.l.map(x, string(x * 2)).join(',')", "6,2,4,2"),
        ("record.l.map(x, x > 1, string(x)).join(',')", "3,2"),
        ("record.l.filter(x, x > 1).map(x, string(x)).join(',')", "3,2"),
        ("string(record.l.exists(x, x == 2))", "true"),
        ("string(record.l.all(x, x < 3))", "false"),
        ("string(record.l.exists_one(x, x == 1))", "false"),
        ("string(record.l.exists(x, 1 / (x - 3) == 0 || x == 2))", "true"),
    ] {
        assert_eq!(value(expression, &record), text(expected), "{expression}");
    }
}
