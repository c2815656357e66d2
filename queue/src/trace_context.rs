//! The trace context that a producer put into a job: `traceparent` and `tracestate` of the W3C, in the `meta` of an RQ job, in
//! the JSON object of a list's element, in the fields of a stream's entry.

use jobqueue_json::{Map, Value};

use crate::{Payload, PayloadLimits, payload};

/// The name of the field that says which span a job belongs to.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// The name of the field in which tracing systems keep what is theirs.
const TRACESTATE: &str = "tracestate";
/// A `traceparent` of version 00, which later versions only append to.
const TRACEPARENT_LENGTH: usize = 55;
/// A longer text of either kind is nobody's: the W3C asks systems to pass on 512 characters of `tracestate`.
const LONGEST: usize = 512;

/// What a producer wrote of its trace, checked for its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// `VERSION-TRACE_ID-SPAN_ID-FLAGS`, in lower-case hexadecimal digits.
    pub traceparent: String,
    /// Empty if there is none.
    pub tracestate: String,
}

impl TraceContext {
    /// From the `meta` of an RQ job. `None` if it has none, or is not data: a pickle that names classes is not read.
    pub(crate) fn of_meta(meta: &[u8], limits: &PayloadLimits) -> Option<Box<Self>> {
        if !mentions(meta) {
            return None;
        }
        Self::of_value(&payload::decode_meta(meta, limits).ok()?)
    }

    /// From a list's element or a stream's entry. `None` if it has none.
    pub(crate) fn of_payload(payload: &Payload, limits: &PayloadLimits) -> Option<Box<Self>> {
        match payload {
            Payload::Call(_) => None,
            Payload::Record(text) => {
                let looks_like_it = mentions(text.as_bytes()) && text.trim_start().starts_with('{');
                let record = looks_like_it.then(|| payload::decode_meta(text.as_bytes(), limits).ok())??;
                Self::of_value(&record)
            }
            Payload::Fields(fields) => Self::of_fields(fields),
        }
    }

    fn of_value(value: &Value) -> Option<Box<Self>> {
        Self::of_fields(value.as_object()?)
    }

    fn of_fields(fields: &Map<String, Value>) -> Option<Box<Self>> {
        let text = |name| fields.get(name).and_then(Value::as_str).filter(|text| text.len() <= LONGEST);
        let traceparent = text(TRACEPARENT).filter(|text| is_traceparent(text))?.to_owned();
        let tracestate = text(TRACESTATE).filter(|text| text.is_ascii()).unwrap_or_default().to_owned();
        Some(Box::new(Self { traceparent, tracestate }))
    }
}

/// False for most jobs of producers without traces, so that nothing of theirs is decoded.
fn mentions(bytes: &[u8]) -> bool {
    bytes.windows(TRACEPARENT.len()).any(|window| window == TRACEPARENT.as_bytes())
}

/// Whether this has the form of the W3C's recommendation: of version 00, or of a later one that begins like it.
fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((known, rest)) = bytes.split_at_checked(TRACEPARENT_LENGTH) else { return false };
    let parts: Vec<&[u8]> = known.split(|&byte| byte == b'-').collect();
    let [version, trace, span, flags] = parts[..] else { return false };
    let hex = |part: &[u8], digits: usize| {
        part.len() == digits && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let names_something = |part: &[u8]| part.iter().any(|&byte| byte != b'0');
    hex(version, 2)
        && version != b"ff"
        && (rest.is_empty() || (version != b"00" && rest[0] == b'-'))
        && hex(trace, 32)
        && names_something(trace)
        && hex(span, 16)
        && names_something(span)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of_meta(meta: &[u8]) -> Option<TraceContext> {
        TraceContext::of_meta(meta, &PayloadLimits::default()).map(|context| *context)
    }

    fn context(tracestate: &str) -> TraceContext {
        TraceContext { traceparent: PARENT.into(), tracestate: tracestate.into() }
    }

    /// A `pickle.dumps({"traceparent": text}, 2)`.
    fn pickled(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        [b"\x80\x02}q\x00X\x0b\x00\x00\x00traceparentq\x01X".as_slice(), &length, text.as_bytes(), b"q\x02s."].concat()
    }

    #[test]
    fn meta_is_read_as_pickle_and_as_json() {
        assert_eq!(of_meta(&pickled(PARENT)), Some(context("")));
        // pickle.dumps({"traceparent": PARENT, "n": 1}, 0)
        let old = format!("(dp0\nVtraceparent\np1\nV{PARENT}\np2\nsVn\np3\nI1\ns.");
        assert_eq!(of_meta(old.as_bytes()), Some(context("")));
        let json = format!(r#"{{"progress": 7, "traceparent": "{PARENT}", "tracestate": "vendor=x"}}"#);
        assert_eq!(of_meta(json.as_bytes()), Some(context("vendor=x")));
    }

    #[test]
    fn a_meta_without_one_or_with_anything_else_has_none() {
        let depth = [b"[".repeat(100_000), b"\"traceparent\"".to_vec()].concat();
        // os.system in a pickle, a number in the place of the text, a list, damaged and empty ones.
        let run = b"cos\nsystem\n(Vtraceparent\ntR.".to_vec();
        let metas = [
            Vec::new(),
            b"{}".to_vec(),
            b"traceparent".to_vec(),
            br#"{"traceparent": 7}"#.to_vec(),
            br#"{"traceparent": null}"#.to_vec(),
            br#"["traceparent"]"#.to_vec(),
            br#"{"traceparent": "#.to_vec(),
            pickled(PARENT)[..60].to_vec(),
            run,
            depth,
        ];
        for meta in metas {
            assert_eq!(of_meta(&meta), None, "{:?}", String::from_utf8_lossy(&meta[..meta.len().min(80)]));
        }
    }

    #[test]
    fn only_the_form_of_the_w3c_is_taken() {
        let later = format!("{}-what.the.future-holds", PARENT.replacen("00", "cc", 1));
        for good in [PARENT, &PARENT.replacen("00", "cc", 1), &later] {
            assert!(is_traceparent(good), "{good}");
        }
        let long = format!("cc{}-{}", &PARENT[2..], "x".repeat(LONGEST));
        let bad = [
            "",
            "00",
            "----",
            &PARENT[..54],
            &format!("{PARENT}-00"),
            &format!("{PARENT}x"),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replacen("00", "0x", 1),
            &PARENT.replacen("0af7", "0AF7", 1),
            &PARENT.replacen("0af7", "+af7", 1),
            &PARENT.replacen("b7ad", "-b7a", 1),
            &PARENT.replacen("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32), 1),
            &PARENT.replacen("b7ad6b7169203331", &"0".repeat(16), 1),
            &PARENT.replacen("-01", "-0g", 1),
            // A letter of two bytes, across the place where the text is cut.
            &format!("{}é", &PARENT[..54]),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é",
        ];
        for bad in bad {
            assert!(!is_traceparent(bad), "{bad:?}");
            assert_eq!(of_meta(&pickled(bad)), None, "{bad:?}");
        }
        assert!(is_traceparent(&long));
        assert_eq!(of_meta(&pickled(&long)), None, "too long");
    }

    #[test]
    fn a_tracestate_that_is_too_long_or_not_ascii_is_left_out() {
        for state in ["v=".to_owned() + &"x".repeat(LONGEST), "v=é".to_owned()] {
            let meta = format!(r#"{{"traceparent": "{PARENT}", "tracestate": "{state}"}}"#);
            assert_eq!(of_meta(meta.as_bytes()), Some(context("")));
        }
    }

    #[test]
    fn records_and_entries_carry_it_as_a_field() {
        let limits = PayloadLimits::default();
        let of = |payload: Payload| TraceContext::of_payload(&payload, &limits).map(|context| *context);
        let record = format!(r#" {{"Name": "x", "traceparent": "{PARENT}"}}"#);
        assert_eq!(of(Payload::Record(record)), Some(context("")));
        for record in [format!("[\"traceparent\", \"{PARENT}\"]"), "traceparent".into(), "{\"traceparent\"".into()] {
            assert_eq!(of(Payload::Record(record)), None);
        }
        let fields = json!({"data": "{}", "traceparent": PARENT, "tracestate": "a=b"});
        assert_eq!(of(Payload::Fields(fields.as_object().unwrap().clone())), Some(context("a=b")));
        let bytes = json!({"traceparent": payload::bytes_value(PARENT.as_bytes())});
        assert_eq!(of(Payload::Fields(bytes.as_object().unwrap().clone())), None);
    }
}
