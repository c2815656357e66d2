//! JSON payloads (`rq.serializers.JSONSerializer`): measured before they are parsed, so that nesting and number of
//! values are bounded before anything is allocated for them.

use jobqueue_json::Value;

use super::{MAX_VALUES, malformed, too_large};
use crate::{PayloadError, PayloadLimits};

pub(super) fn decode(bytes: &[u8], limits: &PayloadLimits) -> Result<Value, PayloadError> {
    measure(bytes, limits.max_depth)?;
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(format!("JSON: it is not UTF-8: {error}")))?;
    // The parser's own limit of depth (128) stays in force whatever `max_depth` says.
    jobqueue_json::parse(text).map_err(|error| malformed(format!("JSON: {error}")))
}

/// One pass over the bytes, valid JSON or not: how deep brackets nest, and how many values there can be at most.
fn measure(bytes: &[u8], max_depth: usize) -> Result<(), PayloadError> {
    let (mut depth, mut values, mut in_text, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > max_depth {
                    return Err(too_large(format!("nested deeper than {max_depth}")));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            // A key is a value too, as far as memory goes.
            b',' | b':' => values += 1,
            _ => {}
        }
        if values > MAX_VALUES {
            return Err(too_large(format!("more than {MAX_VALUES} values")));
        }
    }
    Ok(())
}
