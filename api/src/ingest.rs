//! The `ingest` section: the recipe, from a record to rows.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::rule;

/// One recipe: which functions it serves, where the record is, what rows it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IngestSpec {
    /// RQ function names that it serves, e.g. `ParseCompany.parse_company`. Omitted: every job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 64), inner(length(min = 1, max = 512))))]
    pub functions: Vec<String>,
    /// CEL over `job` that gives the record; text is parsed as JSON. Omitted: `job.args[0]`, which for a List is the
    /// element, and for a Stream the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4096)))]
    pub record: Option<String>,
    /// The rows, in the order of writing.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 32)))]
    pub tables: Vec<TableSpec>,
}

/// One row (or, with `forEach`, one per element) of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = row_rules())))]
pub struct TableSpec {
    /// Table name; `schema.table` is allowed.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    pub table: String,
    /// CEL over `job` and `record`: a list, one row per element, which is `item`. Omitted: one row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4096)))]
    pub for_each: Option<String>,
    /// CEL over `job` and `record` (and `item`): no row where it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4096)))]
    pub when: Option<String>,
    /// Column name to CEL expression over `job`, `record` and `item`.
    #[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1, "maxProperties" = 1024)))]
    pub columns: BTreeMap<String, String>,
    /// What to do when the database reports a duplicate key: Fail (the job fails), Ignore (the existing row stays, and
    /// its children are not written) or Update (the existing row takes the new values).
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// The columns that identify a row, for `onConflict: Update` (and optionally for Ignore).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 16), inner(length(min = 1, max = 256))))]
    pub key: Vec<String>,
    /// The column whose generated value is `parent.id` for the children.
    #[serde(default = "default_id")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    pub id: String,
    /// Rows that refer to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub children: Vec<ChildSpec>,
}

/// Rows that belong to a parent row; `parent.id` is the id that the database gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = row_rules())))]
pub struct ChildSpec {
    /// Table name; `schema.table` is allowed.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    pub table: String,
    /// CEL: a list, one row per element, which is `item`. Null counts as empty. Omitted: one row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4096)))]
    pub for_each: Option<String>,
    /// CEL: no row where it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4096)))]
    pub when: Option<String>,
    /// Column name to CEL expression over `job`, `record` and `item`; exactly `parent.id` where the parent's id goes.
    #[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1, "maxProperties" = 1024)))]
    pub columns: BTreeMap<String, String>,
    /// What to do when the database reports a duplicate key: Fail, Ignore or Update.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// The columns that identify a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = 16), inner(length(min = 1, max = 256))))]
    pub key: Vec<String>,
}

/// What to do with a row whose key exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
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

/// What is true of every row.
#[cfg(feature = "schema")]
fn row_rules() -> [serde_json::Value; 2] {
    [
        rule(
            "self.onConflict != 'Update' || (has(self.key) && size(self.key) > 0)",
            "onConflict: Update needs key, the columns that identify a row",
        ),
        rule(
            "!('true' in self.columns || 'false' in self.columns)",
            "no column can be called true or false: kubectl reads the bare words yes, on, y and no, off, n so; put the name in quotes",
        ),
    ]
}
