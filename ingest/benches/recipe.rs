//! What a recipe costs per job, on one core: `cargo bench -p jobqueue-ingest --bench recipe [-- companies.jsonl]`.
//! Prints microseconds per job for the whole (text to rows), for parsing the JSON alone, and for a recipe that needs the
//! interpreter for one column in four.

use std::hint::black_box;
use std::time::Instant;

use chrono::Utc;
use jobqueue_ingest::{IngestSpec, JobInput, Recipe};
use jobqueue_json::{Map, Value};
use serde_json::json;

fn main() {
    let lines: Vec<String> = std::env::args()
        .skip(1)
        .find(|a| !a.starts_with("--"))
        .and_then(|path| std::fs::read_to_string(path).ok())
        .map_or_else(|| (0..200).map(company).collect(), |text| text.lines().map(str::to_owned).collect());
    let bytes: usize = lines.iter().map(String::len).sum();
    println!("{} records of {} bytes on average", lines.len(), bytes / lines.len().max(1));

    measure("JSON alone", &lines, |args| {
        let Value::String(text) = &args[0] else { return 0 };
        black_box(jobqueue_json::parse(text)).map_or(0, |_| 1)
    });
    let yaml = include_str!("../tests/data/companies.yaml");
    let interpreted = yaml
        .replace("record.Company.Status", "record.Company.Status.trim()")
        .replace("record.Company.No", "record.Company.No.trim()")
        .replace("record.Company.Address", "record.Company.Address.trim()")
        .replace("record.Company.OperName", "record.Company.OperName.trim()")
        .replace("record.Company.EconKind", "record.Company.EconKind.trim()")
        .replace("item.StockName", "item.StockName.trim()")
        .replace("item.StockType", "item.StockType.trim()")
        .replace("item.RealCapi", "item.RealCapi.trim()");
    for (name, yaml) in [("companies recipe", yaml), ("the same, partly interpreted", &interpreted)] {
        let specs: Vec<IngestSpec> = serde_yaml::from_str(yaml).expect("the recipe is well-formed");
        let recipe = Recipe::compile(&specs).expect("the recipe compiles");
        measure(name, &lines, |args| rows(&recipe, args));
    }
}

fn rows(recipe: &Recipe, args: &[Value]) -> usize {
    let none = Map::new();
    let job = JobInput {
        id: "job",
        queue: "companies",
        function: Some("ParseCompany.parse_company"),
        args,
        kwargs: &none,
        fields: &none,
        attempt: 1,
        enqueued_at: None,
    };
    recipe.rows(&job, Utc::now()).map_or(0, |tree| 1 + tree.rows.iter().map(|r| r.children.len()).sum::<usize>())
}

/// Best of several rounds: other work on the machine only ever adds time.
fn measure(name: &str, lines: &[String], run: impl Fn(&[Value]) -> usize) {
    let jobs: Vec<[Value; 1]> = lines.iter().map(|line| [Value::from(line.as_str())]).collect();
    let mut best = f64::INFINITY;
    let mut made = 0;
    for _ in 0..30 {
        let start = Instant::now();
        made = jobs.iter().map(|args| run(args)).sum();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{name}: {:.1} us per job ({made} rows)", best * 1e6 / jobs.len() as f64);
}

fn company(i: usize) -> String {
    let partner = |k: usize| {
        json!({"SeqId": k.to_string(), "StockName": "李博", "StockType": "自然人", "IdentifyType": null, "IdentifyNo": "不公示",
            "ShouldCapi": "60.000000万元", "ShoudDate": "2009年07月24日", "InvestType": "货币", "InvestName": null,
            "RealCapi": "60.000000万元", "CapiDate": if k.is_multiple_of(2) { json!(null) } else { json!("2009年07月24日") },
            "StockPercent": "60%", "Org": 2, "CompanyId": null, "Address": null})
    };
    let date = "2010-10-22T00:00:00+08:00";
    json!({"Status": 1, "Message": null, "UpdateTime": date, "Company": {
        "Name": format!("广州李博餐饮设备有限公司{i}"), "No": format!("{i:015}"), "Unique": format!("{i:030x}"),
        "RegistCapi": "100.000000万元人民币", "OperName": "李博", "StartDate": date, "EndDate": null,
        "EconKind": "有限责任公司(自然人投资或控股)", "Status": "已开业", "Scope": "餐饮设备；软件开发；建筑材料；服装贸易",
        "Address": "广州市白云区7号", "TermStart": date, "TeamEnd": null, "BelongOrg": "广州市工商行政管理局",
        "CheckDate": date, "UpdatedDate": date, "Province": "GD",
        "Area": {"Province": "广东省", "City": "广州市", "County": "白云区"}, "Branches": [], "AnnualReports": null,
        "Partners": (0..4).map(partner).collect::<Vec<_>>(),
        "Employees": [{"No": 1, "Name": "李博", "Job": "执行董事", "CerNo": null, "ScertName": null}],
        "ChangeRecords": [{"No": 1, "ProjectName": "营业期限变更", "BeforeContent": "", "AfterContent": "", "ChangeDate": date}]
    }})
    .to_string()
}
