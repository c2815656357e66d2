//! From text to values, by `jiter`, which gives a number as its text.

use std::fmt;

use jiter::{Jiter, JiterError, Peek};

use crate::{Map, Number, Value};

/// Deepest nesting, as with `serde_json`.
const MAX_DEPTH: usize = 128;

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {} column {}", self.message, self.line, self.column)
    }
}

impl std::error::Error for ParseError {}

/// Parses one JSON document. Of a key that occurs twice the last value counts.
///
/// # Errors
/// [`ParseError`] if it is not JSON, or nested deeper than 127 levels.
pub fn parse(text: &str) -> Result<Value, ParseError> {
    let mut jiter = Jiter::new(text.as_bytes());
    document(&mut jiter).map_err(|fault| {
        let position = jiter.error_position(fault.index);
        ParseError { message: fault.message, line: position.line, column: position.column }
    })
}

struct Fault {
    message: String,
    index: usize,
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self { message: error.error_type.to_string(), index: error.index }
    }
}

fn document(jiter: &mut Jiter<'_>) -> Result<Value, Fault> {
    let first = jiter.peek()?;
    let value = value(jiter, first, MAX_DEPTH)?;
    jiter.finish()?;
    Ok(value)
}

/// `depth` counts down to the level that is one too many.
fn value(jiter: &mut Jiter<'_>, first: Peek, depth: usize) -> Result<Value, Fault> {
    Ok(match first {
        Peek::Null => jiter.known_null().map(|()| Value::Null)?,
        Peek::True | Peek::False => Value::Bool(jiter.known_bool(first)?),
        Peek::String => Value::String(jiter.known_str()?.to_owned()),
        Peek::Array => {
            let depth = deeper(jiter, depth)?;
            let mut list = Vec::new();
            let mut next = jiter.known_array()?;
            while let Some(first) = next {
                list.push(value(jiter, first, depth)?);
                next = jiter.array_step()?;
            }
            Value::Array(list)
        }
        Peek::Object => {
            let depth = deeper(jiter, depth)?;
            let mut map = Map::new();
            let mut next = jiter.known_object()?.map(str::to_owned);
            while let Some(key) = next {
                let first = jiter.peek()?;
                map.insert(key, value(jiter, first, depth)?);
                next = jiter.next_key()?.map(str::to_owned);
            }
            Value::Object(map)
        }
        first => {
            let start = jiter.current_index();
            let text = jiter.known_number_bytes(first)?;
            let text =
                std::str::from_utf8(text).map_err(|_| Fault { message: "invalid number".into(), index: start })?;
            Value::Number(Number::of_json(text))
        }
    })
}

fn deeper(jiter: &Jiter<'_>, depth: usize) -> Result<usize, Fault> {
    match depth - 1 {
        0 => Err(Fault { message: "recursion limit exceeded".into(), index: jiter.current_index() }),
        depth => Ok(depth),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        let text = r#"{"a":[0.10,-0,-0.0,1E400,1e-7,18446744073709551616,123456789012345678901234567890,7]}"#;
        assert_eq!(parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, message) in [
            ("{\"no\": 1", "EOF while parsing an object at line 1 column 8"),
            ("{\"a\": 1,\n \"b\"", "EOF while parsing an object at line 2 column 4"),
            ("[1 2]", "expected `,` or `]` at line 1 column 4"),
            ("01", "invalid number at line 1 column 2"),
            ("nope", "expected ident at line 1 column 2"),
            ("1 2", "trailing characters at line 1 column 3"),
            ("\"\\ud800\"", "unexpected end of hex escape at line 1 column 8"),
            ("", "EOF while parsing a value at line 1 column 0"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(&nested(127)).is_ok());
        let error = parse(&nested(128)).unwrap_err();
        assert_eq!(error.to_string(), "recursion limit exceeded at line 1 column 128");
        assert!(parse(&"{\"a\":".repeat(100_000)).is_err());
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let scalar = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<u64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            "\\PC{0,8}".prop_map(serde_json::Value::from),
            proptest::collection::vec(any::<char>(), 0..6)
                .prop_map(|chars| serde_json::Value::from(String::from_iter(chars))),
        ];
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::btree_map("\\PC{0,4}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read_and_written_alike(value in json()) {
            let text = value.to_string();
            let read = parse(&text).unwrap();
            prop_assert_eq!(read.to_string(), text);
            prop_assert_eq!(serde_json::to_value(&read).unwrap(), value);
        }

        #[test]
        fn both_agree_on_what_is_json(text in "[-+0-9.eE\\[\\]{},:\"a-u \\\\]{0,12}") {
            let ours = parse(&text);
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(_) => prop_assert!(ours.is_ok(), "{}", text),
                Err(error) if error.to_string().contains("out of range") => prop_assert!(ours.is_ok(), "{}", text),
                Err(_) => prop_assert!(ours.is_err(), "{}", text),
            }
        }
    }
}
