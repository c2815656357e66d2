//! `date` and `datetime`.

use chrono::{NaiveDateTime, NaiveTime};
use jobqueue_json::Value as JsonValue;

use super::RecipeFunction;
use crate::recipe::eval::calendar::Format;
use crate::recipe::eval::value::Value;

/// `date` and `datetime`: null or blank text is the default, or null where there is none.
pub(crate) fn date<'a>(
    function: RecipeFunction,
    x: &Value<'_>,
    formats: &[Format],
    default: Option<&Value<'_>>,
) -> Result<Value<'a>, String> {
    let read = match x {
        Value::Null => None,
        Value::Text(s) if s.trim().is_empty() => None,
        Value::Text(s) => Some(read_date(function, x, s.trim(), formats)?),
        other => Some(calendar(other).ok_or_else(|| format!("{} is {}, not a date", other.shown(), other.kind()))?),
    };
    let read = match (read, default) {
        (Some(read), _) => read,
        (None, None | Some(Value::Null)) => return Ok(Value::Null),
        (None, Some(default)) => default_date(default)?,
    };
    Ok(if function == RecipeFunction::Date { Value::Date(read.date()) } else { Value::DateTime(read) })
}

/// What a text says in the first of the formats that it is in. A time of day that is not there is not made up.
fn read_date(function: RecipeFunction, x: &Value<'_>, text: &str, formats: &[Format]) -> Result<NaiveDateTime, String> {
    let mut why = None;
    for format in formats {
        match format.read(text) {
            Ok(Some((date, Some(time)))) => return Ok(date.and_time(time)),
            Ok(Some((date, None))) if function == RecipeFunction::Date => return Ok(date.and_time(NaiveTime::MIN)),
            Ok(Some(_)) => why = Some("has no time of day; date() reads it, and datetime(date(x)) is its midnight"),
            Ok(None) => {}
            Err(unfit) => why = Some(unfit),
        }
    }
    Err(match why {
        Some(why) => format!("{} {why}", x.shown()),
        None => format!("{} is not a date{}", x.shown(), expected(formats)),
    })
}

fn expected(formats: &[Format]) -> &'static str {
    match formats {
        [Format::Iso] => " in ISO 8601 (2010-10-22, or 2010-10-22T08:00:00+08:00)",
        [_] => " in the given format",
        _ => " in any of the given formats",
    }
}

/// The default of `date` and `datetime`, in ISO 8601.
pub(crate) fn default_date(default: &Value<'_>) -> Result<NaiveDateTime, String> {
    match default {
        Value::Text(s) => {
            let read = Format::Iso.read(s.trim()).ok().flatten();
            read.map(|(date, time)| date.and_time(time.unwrap_or(NaiveTime::MIN)))
        }
        other => calendar(other),
    }
    .ok_or_else(|| format!("the default {} is not a date in ISO 8601 (1900-01-01)", default.shown()))
}

fn calendar(x: &Value<'_>) -> Option<NaiveDateTime> {
    match x {
        Value::Date(d) => d.and_hms_opt(0, 0, 0),
        Value::DateTime(d) => Some(*d),
        Value::Timestamp(t) => Some(t.naive_local()),
        _ => None,
    }
}

/// The second argument of `date` and `datetime`: one format, a list of formats, or null for ISO 8601.
pub(crate) fn formats(function: RecipeFunction, format: Option<&Value<'_>>) -> Result<Vec<Format>, String> {
    let parse = |format: &str| Format::parse(format, function == RecipeFunction::DateTime);
    match format {
        None | Some(Value::Null) => Ok(vec![Format::Iso]),
        Some(Value::Text(s)) => Ok(vec![parse(s)?]),
        Some(Value::Json(list))
            if list.as_array().is_some_and(|l| !l.is_empty() && l.iter().all(JsonValue::is_string)) =>
        {
            list.as_array().into_iter().flatten().filter_map(JsonValue::as_str).map(parse).collect()
        }
        Some(other) => Err(format!("{} is not a date format, nor a list of them", other.shown())),
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;
    use crate::recipe::eval::functions::testing::{of, text_of};

    #[test]
    fn a_missing_date_is_null_or_the_default() {
        let iso = [Format::Iso];
        for missing in [json!(null), json!(""), json!("  ")] {
            assert_eq!(date(RecipeFunction::Date, &of(&missing), &iso, None), Ok(Value::Null));
            let default = json!("1900-01-01");
            let date = date(RecipeFunction::Date, &of(&missing), &iso, Some(&of(&default)));
            assert_eq!(text_of(date), Ok(Some("1900-01-01".into())));
        }
    }

    #[test]
    fn the_default_is_for_what_is_missing_not_for_what_is_wrong() {
        let (wrong, default) = (json!("not a date"), json!("1900-01-01"));
        let error = date(RecipeFunction::Date, &of(&wrong), &[Format::Iso], Some(&of(&default))).unwrap_err();
        assert!(error.starts_with("\"not a date\" is not a date in ISO 8601"), "{error}");
        let error = date(RecipeFunction::Date, &of(&json!(20_101_022)), &[Format::Iso], None).unwrap_err();
        assert_eq!(error, "20101022 is a number, not a date");
        let error = date(RecipeFunction::Date, &Value::Null, &[Format::Iso], Some(&of(&wrong))).unwrap_err();
        assert_eq!(error, "the default \"not a date\" is not a date in ISO 8601 (1900-01-01)");
    }

    #[test]
    fn datetime_keeps_the_time_as_written() {
        let x = json!("2010-10-22T13:45:10.25+08:00");
        let read = |function| text_of(date(function, &of(&x), &[Format::Iso], None));
        assert_eq!(read(RecipeFunction::DateTime), Ok(Some("2010-10-22T13:45:10.250".into())));
        assert_eq!(read(RecipeFunction::Date), Ok(Some("2010-10-22".into())));
    }

    #[test]
    fn several_formats_are_tried_in_order() {
        let list = json!(["%Y年%m月%d日", "iso"]);
        let formats = formats(RecipeFunction::Date, Some(&of(&list))).unwrap();
        for x in ["2010年10月22日", "2010-10-22", " 2010-10-22T00:00:00Z "] {
            let x = json!(x);
            assert_eq!(text_of(date(RecipeFunction::Date, &of(&x), &formats, None)), Ok(Some("2010-10-22".into())));
        }
        let error = date(RecipeFunction::Date, &of(&json!("22.10.2010")), &formats, None).unwrap_err();
        assert_eq!(error, "\"22.10.2010\" is not a date in any of the given formats");
    }
}
