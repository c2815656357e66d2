//! Calls and results as Python reads them. Pickles are written with protocol 3, which every Python 3 loads.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use serde::ser::{Serialize, SerializeTuple};
use serde_json::{Map, Value};

use crate::Serializer;
use crate::trace_context::TRACEPARENT;

/// A return value as RQ stores it in a result stream, before base64. The reader uses the serializer it is configured
/// with, so this must be the one the call came with.
pub fn encode_result(value: &Value, serializer: Serializer) -> Vec<u8> {
    encode(value, serializer)
}

/// The `data` field of a job, zlib-compressed: the call `function(*args, **kwargs)`.
pub fn encode_call(function: &str, args: &[Value], kwargs: &Map<String, Value>, serializer: Serializer) -> Vec<u8> {
    let call = encode(&(function, (), Tuple(args), kwargs), serializer);
    let mut zlib = ZlibEncoder::new(Vec::with_capacity(call.len() / 2 + 64), Compression::default());
    zlib.write_all(&call).and_then(|()| zlib.finish()).expect("writing to memory cannot fail")
}

/// The `meta` field of a job that says which span it goes on from.
pub(crate) fn encode_trace_meta(traceparent: &str, serializer: Serializer) -> Vec<u8> {
    encode(&Map::from_iter([(TRACEPARENT.to_owned(), Value::from(traceparent))]), serializer)
}

fn encode(value: &impl Serialize, serializer: Serializer) -> Vec<u8> {
    match serializer {
        Serializer::Pickle => {
            serde_pickle::to_vec(value, serde_pickle::SerOptions::new()).expect("JSON values can be pickled")
        }
        Serializer::Json => serde_json::to_vec(value).expect("JSON values can be written as JSON"),
    }
}

/// A Python tuple where the format has one.
struct Tuple<'a>(&'a [Value]);

impl Serialize for Tuple<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for element in self.0 {
            tuple.serialize_element(element)?;
        }
        tuple.end()
    }
}
