//! `text` and `json`.

use std::borrow::Cow;

use jobqueue_json::Value as JsonValue;

use crate::recipe::eval::value::{Value, quote};

/// `text`: null stays null.
pub(crate) fn text(x: Value<'_>) -> Result<Value<'_>, String> {
    match x {
        Value::Null | Value::Text(_) => Ok(x),
        Value::Bytes(b) => match String::from_utf8(b) {
            Ok(s) => Ok(Value::Text(Cow::Owned(s))),
            Err(_) => Err("the bytes are not UTF-8 text".into()),
        },
        Value::Json(_) => {
            x.without_bytes()?;
            Ok(Value::Text(Cow::Owned(x.text().unwrap_or_default())))
        }
        other => Ok(Value::Text(Cow::Owned(other.text().unwrap_or_default()))),
    }
}

/// `json` of text, or of bytes that are text.
pub(crate) fn json(x: Value<'_>) -> Result<Value<'static>, String> {
    match text(x)? {
        Value::Text(s) => parse_json(&s).map(|v| Value::from_json(&v).into_owned()),
        other => Ok(other.into_owned()),
    }
}

/// A JSON document in text: where it is broken and how it starts. Nesting is limited by the parser, to 128 levels.
pub(crate) fn parse_json(text: &str) -> Result<JsonValue, String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    jobqueue_json::parse(body).map_err(|error| {
        format!(
            "not valid JSON at line {} column {}: {}; the text is {}",
            error.line,
            error.column,
            error.message,
            quote(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;
    use crate::recipe::eval::functions::testing::{of, text_of};

    #[test]
    fn text_writes_scalars_and_keeps_null() {
        assert_eq!(text(Value::Null), Ok(Value::Null));
        for (x, written) in
            [(json!(7), "7"), (json!(12.0), "12.0"), (json!(true), "true"), (json!({"a": [1]}), "{\"a\":[1]}")]
        {
            assert_eq!(text_of(text(of(&x))), Ok(Some(written.into())));
        }
        assert!(text(Value::Bytes(vec![0xff])).is_err());
        assert_eq!(text_of(text(Value::Bytes(b"ok".to_vec()))), Ok(Some("ok".into())));
    }

    #[test]
    fn broken_json_is_located_and_shown_from_its_start() {
        let error = parse_json("{\"a\": 1,\n \"b\"").unwrap_err();
        assert_eq!(
            error,
            "not valid JSON at line 2 column 4: EOF while parsing an object; the text is \"{\\\"a\\\": 1,\\n \\\"b\\\"\""
        );
        let error = parse_json(&format!("x{}", "长".repeat(500))).unwrap_err();
        assert!(error.ends_with("\"... (501 characters)"), "{error}");
        assert!(error.chars().count() < 200, "{error}");
    }

    #[test]
    fn json_may_start_with_a_byte_order_mark_and_must_not_be_deep() {
        assert_eq!(parse_json("\u{feff}{}"), Ok(json!({})));
        assert!(!parse_json(&"[".repeat(120)).unwrap_err().contains("recursion"));
        let error = parse_json(&"[".repeat(10_000)).unwrap_err();
        assert!(error.starts_with("not valid JSON at line 1 column 128: recursion limit exceeded"), "{error}");
    }
}
