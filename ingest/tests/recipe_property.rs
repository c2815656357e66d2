//! Whatever the record, a recipe answers with rows that have all their columns, or with an error; it never panics.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use chrono::DateTime;
use jobqueue_ingest::{IngestSpec, JobInput, Recipe, Row};
use jobqueue_json::Map;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

fn recipe(yaml: &str) -> Recipe {
    Recipe::compile(&serde_yaml::from_str::<Vec<IngestSpec>>(yaml).unwrap()).unwrap()
}

fn check(recipe: &Recipe, args: &[Value]) -> Result<bool, TestCaseError> {
    let none = Map::new();
    let args: Vec<_> = args.iter().cloned().map(jobqueue_json::Value::from).collect();
    let job = JobInput {
        id: "j",
        queue: "q",
        function: Some("ParseCompany.parse_company"),
        args: &args,
        kwargs: &none,
        fields: &none,
        attempt: 1,
        enqueued_at: None,
    };
    match recipe.rows(&job, DateTime::UNIX_EPOCH) {
        Ok(tree) => {
            tree.rows.iter().try_for_each(|row| complete(recipe, row))?;
            prop_assert_eq!(recipe.preview(&tree).len(), tree.rows.len());
            Ok(true)
        }
        Err(error) => {
            // An error is a line in a log and a field in Redis: it must not grow with the record.
            prop_assert!(error.to_string().chars().count() < 1000, "{}", error);
            Ok(false)
        }
    }
}

fn complete(recipe: &Recipe, row: &Row) -> Result<(), TestCaseError> {
    let plan = &recipe.tables[row.table];
    prop_assert_eq!(row.values.len(), plan.columns.len());
    for child in &row.children {
        prop_assert_eq!(recipe.tables[child.table].parent, Some(row.table));
        complete(recipe, child)?;
    }
    Ok(())
}

/// JSON in which the field names of a company occur, in any place and with any value.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "Company",
        "Name",
        "Unique",
        "StartDate",
        "Partners",
        "Area",
        "Province",
        "City",
        "County",
        "ShoudDate",
        "StockName",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        select(&["2010-10-22", "2010年10月22日", "not a date", ""][..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(select(names.to_vec()), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// A complete company in which up to two values were replaced.
fn spoiled_company() -> impl Strategy<Value = Value> {
    let fields = [
        "/Company/Name",
        "/Company/Unique",
        "/Company/StartDate",
        "/Company/Partners",
        "/Company/Area",
        "/Company/Area/City",
        "/Company/Partners/0",
        "/Company/Partners/0/ShoudDate",
        "/Company/No",
        "/Company",
    ];
    prop::collection::vec((select(fields.to_vec()), any_json()), 0..3).prop_map(|replacements| {
        let mut company = json!({"Company": {
            "Name": "n", "Unique": "u", "RegistCapi": "1万元", "OperName": "o", "StartDate": null, "EconKind": "k",
            "Status": "s", "Scope": "s", "Address": "a", "TermStart": "2010-10-22T00:00:00+08:00", "TeamEnd": null,
            "BelongOrg": "b", "CheckDate": null, "No": "1", "Area": {"Province": "p", "City": "c", "County": ""},
            "Partners": [{"StockType": "t", "StockName": "n", "IdentifyType": null, "IdentifyNo": "", "ShouldCapi": "1",
                "ShoudDate": "2010年10月22日", "InvestType": "", "RealCapi": "", "CapiDate": null, "StockPercent": null}]}});
        for (place, value) in replacements {
            if let Some(target) = company.pointer_mut(place) {
                *target = value;
            }
        }
        company
    })
}

/// Every kind of expression that is left to the interpreter, and every helper.
const MIXED: &str = r#"
- tables:
    - table: a
      columns:
        text: text(record.Company)
        default: default(record.Company.Area.City, "none")
        number: number(default(record.Company.Name, 1))
        optional: record.?Company.?Name
        shout: string(default(record.Company.Name, "")).upperAscii()
        json: json(default(record.Company.StartDate, "{}"))
      children:
        - table: b
          forEach: default(record.Company.Partners, [])
          when: item != null
          columns: {parent: parent.id, decimal: decimal(item.StockName), date: 'date(item.ShoudDate, ["iso", "%Y年%m月%d日"])'}
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_answered(record in any_json()) {
        check(&recipe(include_str!("data/companies.yaml")), std::slice::from_ref(&record))?;
        check(&recipe(MIXED), &[record])?;
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,80}") {
        check(&recipe(include_str!("data/companies.yaml")), &[Value::from(text)])?;
    }

    #[test]
    fn a_company_cut_anywhere_is_answered(record in spoiled_company(), cut in any::<prop::sample::Index>()) {
        let recipe = recipe(include_str!("data/companies.yaml"));
        let text = record.to_string();
        let as_text = check(&recipe, &[Value::from(text.as_str())])?;
        let as_value = check(&recipe, &[record])?;
        prop_assert_eq!(as_text, as_value);
        let end = cut.index(text.len());
        if text.is_char_boundary(end) {
            prop_assert!(!check(&recipe, &[Value::from(&text[..end])])?);
        }
    }

    #[test]
    fn any_expression_compiles_or_is_refused(source in "[a-z.()\\[\\]{}\"'0-9 +?:,&|!=<%_-]{0,40}", record in any_json()) {
        let spec = json!([{"tables": [{"table": "t", "columns": {"c": source}}]}]);
        let specs: Vec<IngestSpec> = serde_json::from_value(spec).unwrap();
        if let Ok(recipe) = Recipe::compile(&specs) {
            check(&recipe, &[record])?;
        }
    }
}
