//! How bytes travel among JSON values, which have none: as an object with one key that no producer uses. Recipes read it
//! back (a test of the worker holds the two together).

use std::fmt::Write as _;

use jobqueue_json::{Map, Value};

/// The key of the object that stands for bytes; its value are their hexadecimal digits.
pub const BYTES_KEY: &str = "\0bytes";

/// The object that stands for `bytes`.
pub fn bytes_value(bytes: &[u8]) -> Value {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            digits.push(char::from_digit(nibble.into(), 16).expect("four bits are a hexadecimal digit"));
        }
    }
    Value::Object(Map::from_iter([(BYTES_KEY.to_owned(), Value::String(digits))]))
}

/// The bytes that a value stands for; `None` for any other value.
pub fn bytes_in(value: &Value) -> Option<Vec<u8>> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let (pairs, []) = map.get(BYTES_KEY)?.as_str()?.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// The value for a person: bytes, wherever they are, as Python prints them (`b'caf\xc3\xa9'`).
pub fn readable(value: Value) -> Value {
    if let Some(bytes) = bytes_in(&value) {
        return Value::String(as_python(&bytes));
    }
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, readable(value))).collect()),
        scalar => scalar,
    }
}

fn as_python(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 3);
    text.push_str("b'");
    for byte in bytes {
        match byte {
            b'\\' | b'\'' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => write!(text, "\\x{other:02x}").expect("a String takes any text"),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;

    #[test]
    fn bytes_come_back_and_read_as_in_python() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes_in(&bytes_value(&all)), Some(all));
        assert_eq!(bytes_in(&json!({"a": 1})), None);
        assert_eq!(bytes_in(&json!({BYTES_KEY: "0"})), None);
        let shown = readable(json!({"v": [bytes_value(b"it's \xff\n"), 1]}));
        assert_eq!(shown, json!({"v": ["b'it\\'s \\xff\\n'", 1]}));
    }
}
