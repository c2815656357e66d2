//! What `Recipe::compile` says of a recipe that cannot work: all of it, where it is, and what to do about it.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use jobqueue_ingest::{IngestSpec, Recipe};

fn problems(yaml: &str) -> Vec<String> {
    let specs: Vec<IngestSpec> = serde_yaml::from_str(yaml).unwrap();
    Recipe::compile(&specs).map_or_else(|problems| problems.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// The problem with one column of a table, if any.
fn column(expression: &str) -> String {
    let spec =
        serde_json::json!([{"tables": [{"table": "t", "forEach": "record.list", "columns": {"c": expression}}]}]);
    let specs: Vec<IngestSpec> = serde_json::from_value(spec).unwrap();
    match Recipe::compile(&specs) {
        Ok(_) => String::new(),
        Err(problems) => problems.iter().map(|p| p.message.clone()).collect::<Vec<_>>().join(" | "),
    }
}

#[test]
fn sound_expressions_have_no_problem() {
    for expression in [
        "record.a.b[\"c d\"][0] + item.`e-f`",
        "size(record.list) > 0 ? record.list[0] : null",
        "record.list.filter(x, x.a > 1).map(x, x.a).size()",
        "has(record.a) && record.a.startsWith(\"x\")",
        "record.?a.?b.orValue(\"\")",
        "optional.of(1).hasValue()",
        "math.greatest(1, 2) + math.abs(-1)",
        "[3, 1].sort()[0]",
        "record.list.sortBy(x, x.a)[0].a",
        "record.name.trim().lowerAscii().replace(\"a\", \"b\").split(\",\")[0]",
        "type(record.a) == string",
        "timestamp(\"2020-01-01T00:00:00Z\") + duration(\"1h\")",
        "google.protobuf.Timestamp == type(now())",
        "{\"a\": record.a, \"b\": [item]}",
        "date(record.a, [\"iso\", \"%d.%m.%Y\"], \"1900-01-01\")",
        "date(record.a, null, null)",
        "default(record.a.b, number(\"1\")) > 0.0",
        "job.kwargs.x + job.id + job.queue",
        "record.list.map(job, job.anything)",
        "string(int(\"1\")) + string(double(\"1.5\"))",
    ] {
        assert_eq!(column(expression), "", "{expression}");
    }
}

#[test]
fn unknown_variables_come_with_a_suggestion() {
    assert_eq!(column("recrod.Name"), "recrod.Name: unknown variable recrod; did you mean record?");
    assert_eq!(
        column("Company.Name"),
        "Company.Name: unknown variable Company; there are job, record, item (a field of the record is record.Company)"
    );
    assert_eq!(
        column("x.map(y, y) == y"),
        "x.map(y, y) == y: unknown variable x; there are job, record, item (a field of \
        the record is record.x) | x.map(y, y) == y: unknown variable y; there are job, record, item (a field of the record \
        is record.y)"
    );
    assert_eq!(column("job.arg[0]"), "job.arg[0]: job has no arg; did you mean job.args?");
    assert!(column("job.company").contains("job has no company; it has id, queue, function, args, "));
}

#[test]
fn unknown_functions_come_with_a_suggestion() {
    assert_eq!(column("dat(record.a)"), "dat(record.a): unknown function dat(); did you mean date()?");
    assert_eq!(column("lenght(record.a)"), "lenght(record.a): unknown function lenght()");
    assert_eq!(column("trim(record.a)"), "trim(record.a): unknown function trim(); it is a method: x.trim(...)");
    assert_eq!(column("record.a.trimm()"), "record.a.trimm(): unknown method .trimm(); did you mean .trim()?");
    assert_eq!(column("record.a.double()"), "record.a.double(): unknown method .double(); it is a function: double(x)");
    assert_eq!(column("math.abz(1)"), "math.abz(1): unknown function math.abz(); did you mean math.abs()?");
    assert_eq!(column("[dat(1)].map(x, dat(x))").matches("unknown function dat()").count(), 1);
}

#[test]
fn helpers_are_checked_for_their_arguments() {
    assert_eq!(
        column("date()"),
        "date(): date() has 0 arguments; write date(x), date(x, format) or date(x, format, default)"
    );
    assert_eq!(column("now(1)"), "now(1): now() has 1 arguments; write now()");
    assert_eq!(column("default(record.a)"), "default(record.a): default() has 1 arguments; write default(x, fallback)");
    assert!(column("record.a.date()").contains("date is not a method; write date(x)"));
    assert!(column("date(record.a, \"%Y年%m月\")").contains("does not determine a year, month and day"));
    assert!(column("date(record.a, [\"iso\", \"%Q\"])").contains("\"%Q\" is not a date format"));
    assert!(
        column("date(record.a, \"iso\", \"1.1.1900\")").contains("the default \"1.1.1900\" is not a date in ISO 8601")
    );
    assert!(column("number(record.a, \"none\")").contains("\"none\" is not a number"));
}

#[test]
fn syntax_errors_say_where() {
    let message = column("record.a +");
    assert!(message.starts_with("record.a +: Syntax error: "), "{message}");
    assert!(message.contains("(line 1, column 11)"), "{message}");
    assert_eq!(column("  "), "is empty; empty text is written '\"\"', and NULL null");
    assert!(column("Foo{a: 1}").contains("Foo{...} makes a message, which recipes do not have"));
    assert!(!column(&"(".repeat(5000)).is_empty());
}

#[test]
fn every_problem_is_reported_with_its_path() {
    let found = problems(
        r#"
- functions: [a, "", a]
  record: record.x
  tables:
    - table: bad-name
      when: item.x
      columns: {id: parent.id, "na me": record.x}
      onConflict: Update
      id: "1d"
      children:
        - table: a.b.c
          forEach: itme.list
          columns: {one: parent.id, two: parent.id, three: "parent.id + 1", four: parent.name}
          onConflict: Ignore
          key: [one, on, one]
- functions: [a]
  tables: []
- tables: [{table: t, columns: {}}]
- tables: [{table: s.t, columns: {名称: record.a}}]
"#,
    );
    assert_eq!(
        found,
        [
            "ingest[0].functions[1]: \"\" is not a function name",
            "ingest[0].functions[2]: a is served by ingest[0] already",
            "ingest[1].functions[0]: a is served by ingest[0] already",
            "ingest[3].functions: names no functions, so it would serve every job, as ingest[2] does already",
            "ingest[0].record: record.x: there is no record yet: this expression says where it is",
            "ingest[0].tables[0].table: \"bad-name\" is not a table name: '-' is not a letter, a digit, _ or $",
            "ingest[0].tables[0].columns.na me: \"na me\" is not a column name: ' ' is not a letter, a digit, _ or $",
            "ingest[0].tables[0].key: onConflict: Update needs the columns that identify a row",
            "ingest[0].tables[0].when: item.x: there is no item here: only a table with forEach has one",
            "ingest[0].tables[0].columns.id: parent.id: parent.id exists only in the columns of children",
            "ingest[0].tables[0].id: \"1d\" is not a column name: it starts with '1'",
            "ingest[0].tables[0].children[0].table: \"a.b.c\" is not a table name: at most one dot, between schema and table",
            "ingest[0].tables[0].children[0].key[1]: on is not one of the columns; did you mean one?",
            "ingest[0].tables[0].children[0].key[2]: one is listed twice",
            "ingest[0].tables[0].children[0].forEach: itme.list: unknown variable itme; there are job, record (a field of \
             the record is record.itme)",
            "ingest[0].tables[0].children[0].columns.four: parent.name: parent.id is not a value yet when the row is made: it \
             can only be the whole expression of a column",
            "ingest[0].tables[0].children[0].columns.three: parent.id + 1: parent.id is not a value yet when the row is \
             made: it can only be the whole expression of a column",
            "ingest[0].tables[0].children[0].columns.two: parent.id goes into one already; one column can take it",
            "ingest[1].tables: has no table",
            "ingest[2].tables[0].columns: has no column",
        ]
    );
    assert_eq!(problems("[]"), ["ingest: has no recipe"]);
}

#[test]
fn a_table_may_occur_twice_and_names_may_be_any_letters() {
    let twice = "[{tables: [{table: t, columns: {a: record.a}}, {table: db.t, columns: {名称_1$: record.a}}]}]";
    assert_eq!(problems(twice), Vec::<String>::new());
}
