//! The recipe as a person writes it: the `spec.ingest` section of a `JobQueue`, and of a worker's config file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One recipe: which functions it serves, where the record is, what rows it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngestSpec {
    /// RQ function names it serves; empty: every job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// CEL over `job`; text is parsed as JSON. Default: `job.args[0]`, the element or the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The rows, in the order of writing.
    pub tables: Vec<TableSpec>,
}

/// One row (or, with `forEach`, one per element) of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableSpec {
    /// Table name, `schema.table` allowed.
    pub table: String,
    /// CEL over `job` and `record`: a list, one row per element, which is `item`. Omitted: one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// CEL over `job` and `record` (and `item`): no row where it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Column name to CEL expression.
    pub columns: BTreeMap<String, String>,
    /// What to do when the database reports a duplicate key.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// The columns that identify a row, for `onConflict: Update` (and optional for `Ignore`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The column whose generated value is `parent.id` for the children.
    #[serde(default = "default_id", skip_serializing_if = "is_default_id")]
    pub id: String,
    /// Rows that refer to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildSpec>,
}

/// Rows that belong to a parent row; `parent.id` is the id that the database gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildSpec {
    /// Table name.
    pub table: String,
    /// CEL: a list, one row per element, which is `item`. Null counts as empty. Omitted: one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// CEL: no row where it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Column name to CEL expression over `job`, `record`, `item`; exactly `parent.id` where the parent's id goes.
    pub columns: BTreeMap<String, String>,
    /// What to do when the database reports a duplicate key.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// The columns that identify a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
}

/// What to do with a row whose key exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// The job fails.
    #[default]
    Fail,
    /// The existing row stays; children of an ignored row are not written.
    Ignore,
    /// The existing row takes the new values; children refer to it.
    Update,
}

fn default_id() -> String {
    "id".into()
}

fn is_default_id(id: &str) -> bool {
    id == "id"
}
