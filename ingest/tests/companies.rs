//! The companies example: what its recipe makes of good records, and what it says of spoiled ones.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use chrono::{DateTime, NaiveDate, Utc};
use jobqueue_ingest::{IngestSpec, JobInput, Recipe, RecipeError, RowTree, SqlValue};
use jobqueue_json::Map;
use serde_json::{Value, json};

fn recipe() -> Recipe {
    let specs: Vec<IngestSpec> = serde_yaml::from_str(include_str!("data/companies.yaml")).unwrap();
    Recipe::compile(&specs).unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn rows(recipe: &Recipe, line: &str) -> Result<RowTree, RecipeError> {
    let (args, none) = ([line.into()], Map::new());
    let job = JobInput {
        id: "a-job",
        queue: "companies",
        function: Some("ParseCompany.parse_company"),
        args: &args,
        kwargs: &none,
        fields: &none,
        attempt: 1,
        enqueued_at: None,
    };
    recipe.rows(&job, now())
}

fn company() -> Value {
    let partner = json!({"SeqId": "0", "StockName": "李博", "StockType": "自然人", "IdentifyType": null,
        "IdentifyNo": "不公示", "ShouldCapi": "60.000000万元", "ShoudDate": "2009年07月24日", "InvestType": "货币",
        "RealCapi": "60.000000万元", "CapiDate": null, "StockPercent": "60%"});
    json!({"Status": 1, "Company": {
        "Name": "广州李博餐饮设备有限公司7", "No": "440100000000007", "Unique": "0123abcd", "RegistCapi": "100.000000万元人民币",
        "OperName": "李博", "StartDate": "2010-10-22T00:00:00+08:00", "EconKind": "有限责任公司", "Status": "已开业",
        "Scope": "餐饮设备", "Address": "广州市白云区7号", "TermStart": "2010-10-22T00:00:00+08:00", "TeamEnd": null,
        "BelongOrg": "广州市工商行政管理局", "CheckDate": null,
        "Area": {"Province": "广东省", "City": "广州市", "County": "白云区"}, "Partners": [partner]}})
}

fn value<'t>(recipe: &Recipe, row: &'t jobqueue_ingest::Row, column: &str) -> &'t SqlValue {
    let plan = &recipe.tables[row.table];
    &row.values[plan.columns.iter().position(|c| c == column).unwrap()]
}

#[test]
fn a_company_becomes_a_row_with_its_partners() {
    let recipe = recipe();
    let tree = rows(&recipe, &company().to_string()).unwrap();
    let [company] = tree.rows.as_slice() else { panic!("{tree:?}") };
    let [partner] = company.children.as_slice() else { panic!("{tree:?}") };
    assert_eq!((company.values.len(), partner.values.len()), (20, 14));

    let date = |y, m, d| SqlValue::Date(NaiveDate::from_ymd_opt(y, m, d).unwrap());
    let text = |s: &str| SqlValue::Text(s.to_owned());
    assert_eq!(value(&recipe, company, "name"), &text("广州李博餐饮设备有限公司7"));
    assert_eq!(value(&recipe, company, "source_url"), &text("http://example.com/company?unique=0123abcd"));
    // The date as written, although in UTC it is the day before.
    assert_eq!(value(&recipe, company, "founded_date"), &date(2010, 10, 22));
    assert_eq!(value(&recipe, company, "term_end"), &SqlValue::Null);
    assert_eq!(value(&recipe, company, "company_logo"), &text(""));
    assert_eq!(value(&recipe, company, "created_time"), &SqlValue::Timestamp(now()));
    assert_eq!(value(&recipe, partner, "company_id"), &SqlValue::ParentId);
    assert_eq!(value(&recipe, partner, "subs_capi_date"), &date(2009, 7, 24));
    assert_eq!(value(&recipe, partner, "real_capi_date"), &date(1900, 1, 1));
    assert_eq!(value(&recipe, partner, "certificate_type"), &SqlValue::Null);
}

#[test]
fn the_plans_say_what_a_sink_needs() {
    let recipe = recipe();
    let [company, partner] = recipe.tables.as_slice() else { panic!("{:?}", recipe.tables) };
    assert_eq!(
        (company.table.as_str(), company.id.as_deref(), company.parent),
        ("company_regist_info", Some("id"), None)
    );
    assert_eq!((partner.table.as_str(), partner.id.as_deref(), partner.parent), ("stockholder", None, Some(0)));
    let parent_column = &partner.columns[partner.parent_column.unwrap()];
    assert_eq!(parent_column, "company_id");
    assert_eq!(partner.expressions[partner.parent_column.unwrap()], "parent.id");
}

#[test]
fn spoiled_records_say_what_is_wrong_with_them() {
    let recipe = recipe();
    let cut: String = company().to_string().chars().take(40).collect();
    let message = rows(&recipe, &cut).unwrap_err().to_string();
    assert!(message.starts_with("record: job.args[0]: not valid JSON at line 1 column "), "{message}");
    assert!(message.contains(r#"the text is "{\"Company\":"#), "{message}");

    let mut nameless = company();
    nameless["Company"].as_object_mut().unwrap().remove("Name");
    let message = rows(&recipe, &nameless.to_string()).unwrap_err().to_string();
    assert_eq!(message, "company_regist_info.name: record.Company.Name: no such key: Name");

    let mut undated = company();
    undated["Company"]["StartDate"] = json!("not a date");
    let message = rows(&recipe, &undated.to_string()).unwrap_err().to_string();
    assert_eq!(
        message,
        "company_regist_info.founded_date: date(record.Company.StartDate): \"not a date\" is not a date in ISO 8601 \
         (2010-10-22, or 2010-10-22T08:00:00+08:00)"
    );

    let mut partner = company();
    partner["Company"]["Partners"][0]["ShoudDate"] = json!("2009");
    let message = rows(&recipe, &partner.to_string()).unwrap_err().to_string();
    assert!(message.starts_with("stockholder[0].subs_capi_date: "), "{message}");
    assert!(message.ends_with(r#""2009" is not a date in the given format"#), "{message}");

    // Too long for its column is for the database to say.
    let mut long = company();
    long["Company"]["Name"] = json!("长".repeat(5000));
    assert!(rows(&recipe, &long.to_string()).is_ok());
}

#[test]
fn a_preview_has_names() {
    let recipe = recipe();
    let tree = rows(&recipe, &company().to_string()).unwrap();
    let preview = serde_json::to_value(recipe.preview(&tree)).unwrap();
    assert_eq!(preview[0]["table"], "company_regist_info");
    assert_eq!(preview[0]["columns"]["founded_date"], "2010-10-22");
    assert_eq!(preview[0]["children"][0]["columns"]["company_id"], "<company_regist_info.id>");
    assert_eq!(preview[0]["children"][0].get("children"), None);
}
