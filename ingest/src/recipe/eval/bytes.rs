//! Bytes among JSON values, which have none: an object with one key that no producer uses and hexadecimal digits. The
//! queue's payloads make it so; a test of the worker holds the two together.

use std::borrow::Cow;
use std::fmt::Write as _;

use jobqueue_json::{Map, Value as JsonValue};

/// The key of the object that stands for bytes.
const KEY: &str = "\0bytes";

/// The object that stands for `bytes`.
pub(crate) fn to_json(bytes: &[u8]) -> JsonValue {
    JsonValue::Object(Map::from_iter([(KEY.to_owned(), JsonValue::String(hex(bytes)))]))
}

/// The bytes that an object stands for; `None` for any other.
pub(crate) fn from_map(map: &Map<String, JsonValue>) -> Option<Vec<u8>> {
    if map.len() != 1 {
        return None;
    }
    let (pairs, []) = map.get(KEY)?.as_str()?.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// Where the first bytes in a list or map are, as a path below it (`.photo`, `[2].photo`); `None` where there are none.
pub(crate) fn within(value: &JsonValue) -> Option<String> {
    match value {
        JsonValue::Object(map) if from_map(map).is_some() => Some(String::new()),
        JsonValue::Object(map) => map.iter().find_map(|(key, value)| Some(format!(".{key}{}", within(value)?))),
        JsonValue::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| Some(format!("[{index}]{}", within(item)?)))
        }
        _ => None,
    }
}

/// The value for a person: bytes as `\x` and hexadecimal digits.
pub(crate) fn shown(value: &JsonValue) -> Cow<'_, JsonValue> {
    if within(value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(match value {
        JsonValue::Object(map) => match from_map(map) {
            Some(bytes) => JsonValue::String(format!("\\x{}", hex(&bytes))),
            None => {
                JsonValue::Object(map.iter().map(|(key, value)| (key.clone(), shown(value).into_owned())).collect())
            }
        },
        JsonValue::Array(items) => JsonValue::Array(items.iter().map(|item| shown(item).into_owned()).collect()),
        scalar => scalar.clone(),
    })
}

/// Hexadecimal digits, two a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a String takes any text");
        digits
    })
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;

    #[test]
    fn bytes_are_found_wherever_they_are() {
        let value = json!({"a": [1, {"photo": to_json(&[0, 255])}]});
        assert_eq!(within(&value).as_deref(), Some(".a[1].photo"));
        assert_eq!(within(&json!({"a": [1]})), None);
        assert_eq!(*shown(&value), json!({"a": [1, {"photo": "\\x00ff"}]}));
        assert_eq!(to_json(&[7]).as_object().and_then(from_map), Some(vec![7]));
        assert_eq!(json!({"\0bytes": "0"}).as_object().and_then(from_map), None);
    }
}
