//! Holds `docs/recipes.md` to the code: its recipes compile, its values and messages are what the code gives.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use chrono::DateTime;
use jobqueue_ingest::{IngestSpec, JobInput, Recipe};
use jobqueue_json::Map;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/recipes.md");

/// The fenced blocks of the page, in order: language and content.
fn blocks() -> Vec<(&'static str, &'static str)> {
    PAGE.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

fn blocks_of(language: &str) -> Vec<&'static str> {
    let found: Vec<_> = blocks().into_iter().filter(|(l, _)| *l == language).map(|(_, content)| content).collect();
    assert!(!found.is_empty(), "the page has no {language} block");
    found
}

fn specs(yaml: &str) -> Vec<IngestSpec> {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{e} in\n{yaml}"))
}

fn run(recipe: &Recipe, function: Option<&str>, record: Value) -> Result<Value, String> {
    let (args, none) = ([jobqueue_json::Value::from(record)], Map::new());
    let job = JobInput {
        id: "j",
        queue: "q",
        function,
        args: &args,
        kwargs: &none,
        fields: &none,
        attempt: 1,
        enqueued_at: None,
    };
    let tree = recipe.rows(&job, DateTime::UNIX_EPOCH).map_err(|e| e.to_string())?;
    Ok(serde_json::to_value(recipe.preview(&tree)).unwrap())
}

#[test]
fn the_recipes_compile() {
    for yaml in blocks_of("yaml") {
        if let Err(problems) = Recipe::compile(&specs(yaml)) {
            panic!("{problems:#?} in\n{yaml}");
        }
    }
}

#[test]
fn the_broken_recipe_has_the_problems_shown() {
    let problems = Recipe::compile(&specs(blocks_of("yaml broken")[0])).unwrap_err();
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("\n"), blocks_of("text")[0].trim());
}

#[test]
fn the_expressions_have_the_values_shown() {
    let record: Value = serde_json::from_str(blocks_of("json")[0]).unwrap();
    for line in blocks_of("cel").into_iter().flat_map(str::lines).filter(|line| !line.is_empty()) {
        let (expression, shown) = line.split_once(" // ").unwrap_or_else(|| panic!("no value: {line}"));
        let expression = expression.trim();
        let spec = json!([{"tables": [{"table": "t", "columns": {"c": expression}}]}]);
        let recipe = Recipe::compile(&serde_json::from_value::<Vec<IngestSpec>>(spec).unwrap())
            .unwrap_or_else(|problems| panic!("{expression}: {problems:?}"));
        let result = run(&recipe, None, record.clone()).map(|rows| rows[0]["columns"]["c"].clone());
        if let Some(reason) = shown.strip_prefix("ERROR ") {
            assert_eq!(result, Err(format!("t.c: {expression}: {reason}")));
        } else {
            let value: Value = serde_json::from_str(shown).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(result, Ok(value), "{expression}");
        }
    }
}

#[test]
fn the_records_have_the_messages_shown() {
    let recipe = Recipe::compile(&specs(blocks_of("yaml")[0])).unwrap();
    let (_, table) = PAGE.split_once("| the record | the message |\n|---|---|\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 4);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split("` | `").map(|cell| cell.trim_matches('`')).collect();
        let [record, message] = cells[..] else { panic!("not two cells: {row}") };
        assert_eq!(run(&recipe, Some("shop.import_order"), json!(record)), Err(message.to_owned()));
    }
}

#[test]
fn every_helper_is_on_the_page() {
    for helper in ["date", "datetime", "number", "decimal", "text", "json", "default", "now"] {
        assert!(PAGE.contains(&format!("| `{helper}(")), "{helper}");
    }
}
