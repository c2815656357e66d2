//! CEL rules beside the types that they are about.

use serde_json::{Value, json};

/// A CEL rule of the schema, as an entry of `x-kubernetes-validations`. Its counterpart is in `crds/src/validate.rs`.
pub fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}
