//! `number` and `decimal`.

use std::borrow::Cow;

use crate::recipe::eval::value::Value;

/// The sign and the digits before and after the point, of a number without an exponent.
pub(super) fn plain_number(text: &str) -> Option<(bool, &str, &str)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then_some((text.starts_with('-'), whole, fraction))
}

/// `number`: a double, from a number or the number that a text begins with.
pub(crate) fn number<'a>(x: &Value<'_>, default: Option<&Value<'_>>) -> Result<Value<'a>, String> {
    let inexact = || format!("{} has more digits than a double holds; decimal() keeps them", x.shown());
    let exact = |f: f64, digits: usize| if digits > 15 { Err(inexact()) } else { Ok(Value::Float(f)) };
    match leading_number(x)? {
        None => default.map_or(Ok(Value::Null), |d| number(d, None)),
        Some(Read::Double(f)) => Ok(Value::Float(f)),
        // A number of the record is a double like any other to CEL, unless there is none so large.
        Some(Read::Number(digits)) => match digits.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Value::Float(f)),
            _ => Err(inexact()),
        },
        Some(Read::Digits(digits)) => {
            let f: f64 = digits.parse().map_err(|_| not_a_number(x))?;
            exact(f, significant(&digits))
        }
    }
}

/// `decimal`: the same reading, kept as text digit by digit, for DECIMAL columns.
pub(crate) fn decimal<'a>(x: &Value<'_>, default: Option<&Value<'_>>) -> Result<Value<'a>, String> {
    match leading_number(x)? {
        None => default.map_or(Ok(Value::Null), |d| decimal(d, None)),
        Some(Read::Double(f)) => Ok(Value::Text(Cow::Owned(f.to_string()))),
        Some(Read::Number(digits) | Read::Digits(digits)) => Ok(Value::Text(Cow::Owned(digits))),
    }
}

enum Read {
    Double(f64),
    /// The text of a number of the record.
    Number(String),
    /// Optional sign, digits, optional fraction, optional exponent: what `f64::from_str` takes.
    Digits(String),
}

/// Returns `None` for null and blank text. Text may group its digits by commas (`1,234.50`), and may end in a unit that has no
/// ASCII digits (`500.00万元`, `35 %`).
fn leading_number(x: &Value<'_>) -> Result<Option<Read>, String> {
    match x {
        Value::Null => Ok(None),
        Value::Int(i) => Ok(Some(Read::Digits(i.to_string()))),
        Value::UInt(u) => Ok(Some(Read::Digits(u.to_string()))),
        Value::Float(f) => Ok(Some(Read::Double(*f))),
        Value::Number(digits) => Ok(Some(Read::Number(digits.to_string()))),
        Value::Text(s) if s.trim().is_empty() => Ok(None),
        Value::Text(s) => leading_digits(s.trim()).map(|d| Some(Read::Digits(d))).ok_or_else(|| not_a_number(x)),
        other => Err(format!("{} is {}, not a number", other.shown(), other.kind())),
    }
}

/// The message for a text that no number begins.
pub(super) fn not_a_number(x: &Value<'_>) -> String {
    format!("{} is not a number", x.shown())
}

fn leading_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut number = String::with_capacity(text.len().min(32));
    let mut at = 0;
    if let Some(sign @ (b'+' | b'-')) = bytes.first() {
        if *sign == b'-' {
            number.push('-');
        }
        at = 1;
    }
    let run = |at: usize| bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = run(at);
    number.push_str(text.get(at..at + whole)?);
    at += whole;
    if (1..=3).contains(&whole) {
        while bytes.get(at) == Some(&b',') && run(at + 1) == 3 {
            number.push_str(text.get(at + 1..at + 4)?);
            at += 4;
        }
    }
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') && run(at + 1) > 0 {
        fraction = run(at + 1);
        if whole == 0 {
            number.push('0');
        }
        number.push_str(text.get(at..=at + fraction)?);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = run(at + 1 + sign);
        if exponent > 0 {
            number.push_str(text.get(at..at + 1 + sign + exponent)?);
            at += 1 + sign + exponent;
        }
    }
    // `2010-10-22`, `1.2.3` and `1,23` are no numbers with a unit.
    (!text.get(at..)?.bytes().any(|b| b.is_ascii_digit())).then_some(number)
}

/// Digits that carry value: neither leading zeros nor a fraction's trailing ones.
fn significant(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number).trim_start_matches('-');
    let trimmed = if mantissa.contains('.') { mantissa.trim_end_matches('0') } else { mantissa };
    let digits: String = trimmed.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').len()
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;
    use crate::recipe::eval::functions::testing::{of, text_of};

    #[test]
    fn numbers_are_read_from_the_start_of_a_text() {
        for (x, double, digits) in [
            (json!("1,234.50"), 1234.5, "1234.50"),
            (json!("500.000000万元"), 500.0, "500.000000"),
            (json!(" -35 % "), -35.0, "-35"),
            (json!("+7"), 7.0, "7"),
            (json!(".5"), 0.5, "0.5"),
            (json!("1.5e3"), 1500.0, "1.5e3"),
            (json!("1,234,567"), 1_234_567.0, "1234567"),
            (json!("3 eggs"), 3.0, "3"),
            (json!(42), 42.0, "42"),
            (json!(0.25), 0.25, "0.25"),
        ] {
            assert_eq!(number(&of(&x), None), Ok(Value::Float(double)), "{x}");
            assert_eq!(text_of(decimal(&of(&x), None)), Ok(Some(digits.into())), "{x}");
        }
    }

    #[test]
    fn what_only_resembles_a_number_is_refused() {
        for x in ["2010-10-22", "1.2.3", "1,23", "12,3456", "万元", "-", ".", "e5", "x1", "1,,000"] {
            let x = json!(x);
            assert_eq!(number(&of(&x), None), Err(format!("{x} is not a number")));
            assert_eq!(decimal(&of(&x), None), Err(format!("{x} is not a number")));
        }
        assert_eq!(number(&of(&json!([1])), None), Err("[1] is a list, not a number".into()));
        assert_eq!(number(&of(&json!(true)), None), Err("true is a boolean, not a number".into()));
    }

    #[test]
    fn a_missing_number_is_null_or_the_default() {
        let default = json!(0);
        assert_eq!(number(&Value::Null, None), Ok(Value::Null));
        assert_eq!(number(&of(&json!(" ")), Some(&of(&default))), Ok(Value::Float(0.0)));
        assert_eq!(text_of(decimal(&Value::Null, Some(&of(&default)))), Ok(Some("0".into())));
        assert!(number(&of(&json!("x")), Some(&of(&default))).is_err());
    }

    #[test]
    fn digits_that_a_double_would_lose_are_refused_by_number_and_kept_by_decimal() {
        let long = json!("1234567890.1234567890");
        let error = number(&of(&long), None).unwrap_err();
        assert_eq!(error, "\"1234567890.1234567890\" has more digits than a double holds; decimal() keeps them");
        assert_eq!(text_of(decimal(&of(&long), None)), Ok(Some("1234567890.1234567890".into())));
        assert_eq!(number(&of(&json!("000100.000000000000000000")), None), Ok(Value::Float(100.0)));
    }
}
