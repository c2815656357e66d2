//! What a pickle builds, in an arena, and its way to JSON. Containers hold indices, so a value used many times is
//! stored once; what it grows to when written out is charged against the limits.

use std::borrow::Cow;

use chrono::TimeDelta;
use jobqueue_json::{Map, Number, Value};

use super::allowed::Allowed;
use super::zone::Zone;
use crate::payload::bytes::{BYTES_KEY, bytes_value};
use crate::payload::{MAX_VALUES, malformed, shortened, too_large};
use crate::{PayloadError, PayloadLimits};

/// Index of a [`Node`] in the arena.
pub(super) type Id = u32;

#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Decimal digits of an integer outside `i64`.
    BigInt(Box<str>),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// What Python 2 wrote for its `str`: text if it can be read as text.
    OldText(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Duration(TimeDelta),
    Zone(Zone),
    /// A type from the allow-list, named but not made.
    Type(Allowed),
    /// An instance that waits for its state (BUILD).
    Unbuilt(Allowed),
}

/// Writes out what the root refers to.
pub(super) fn to_json(nodes: &[Node<'_>], root: Id, limits: &PayloadLimits) -> Result<Value, PayloadError> {
    // The depth of the recursion below, and of every later walk over the value, is bounded by this.
    let max_depth = limits.max_depth.min(512);
    Writer { nodes, values: 0, bytes: 0, max_depth, max_bytes: limits.max_inflated_bytes }.value(root, 0)
}

struct Writer<'n, 'a> {
    nodes: &'n [Node<'a>],
    values: usize,
    bytes: usize,
    max_depth: usize,
    max_bytes: usize,
}

impl Writer<'_, '_> {
    fn value(&mut self, id: Id, depth: usize) -> Result<Value, PayloadError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(too_large(format!("more than {MAX_VALUES} values")));
        }
        Ok(match &self.nodes[id as usize] {
            Node::None => Value::Null,
            Node::Bool(bool) => Value::Bool(*bool),
            Node::Int(int) => Value::from(*int),
            Node::BigInt(digits) => {
                self.charge(digits.len())?;
                Value::Number(Number::parse(digits).ok_or_else(|| malformed("an integer that is not one"))?)
            }
            Node::Float(float) => float_value(*float),
            Node::Text(text) => self.text(text)?,
            Node::Bytes(bytes) => self.bytes(bytes)?,
            Node::OldText(bytes) => self.old_text(bytes)?,
            Node::List(items) | Node::Tuple(items) | Node::Set(items) => {
                let depth = self.deeper(depth)?;
                items.iter().map(|&item| self.value(item, depth)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Node::Dict(pairs) => self.dict(pairs, depth)?,
            Node::Duration(duration) => seconds(*duration),
            Node::Zone(zone) => Value::String(zone.to_string()),
            Node::Type(allowed) | Node::Unbuilt(allowed) => {
                return Err(PayloadError::NotData(format!("the type {allowed} itself is an argument")));
            }
        })
    }

    fn dict(&mut self, pairs: &[(Id, Id)], depth: usize) -> Result<Value, PayloadError> {
        let depth = self.deeper(depth)?;
        let mut map = Map::new();
        for &(key, value) in pairs {
            let key = self.key(key, depth)?;
            let value = self.value(value, depth)?;
            if key == BYTES_KEY {
                return Err(malformed(format!("a dict has the key {key:?}, which stands for bytes here")));
            }
            if map.contains_key(&key) {
                let key = shortened(&key);
                return Err(malformed(format!("two keys of a dict are both {key:?} as text")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    /// Text as it is, bytes if they are text; anything else as compact JSON (`1`, `true`, `null`, `[1,2]`), the way
    /// `json.dumps` has it.
    fn key(&mut self, id: Id, depth: usize) -> Result<String, PayloadError> {
        if let Node::Bytes(bytes) = &self.nodes[id as usize] {
            let text =
                std::str::from_utf8(bytes).map_err(|_| malformed("a dict has a key of bytes that are not text"))?;
            self.charge(text.len())?;
            return Ok(text.to_owned());
        }
        match self.value(id, depth)? {
            Value::String(text) => Ok(text),
            other => {
                let text = other.to_string();
                self.charge(text.len())?;
                Ok(text)
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<Value, PayloadError> {
        self.charge(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn old_text(&mut self, bytes: &[u8]) -> Result<Value, PayloadError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text),
            Err(_) => self.bytes(bytes),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Value, PayloadError> {
        self.charge(bytes.len() * 2)?;
        Ok(bytes_value(bytes))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), PayloadError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max_bytes {
            return Err(too_large(format!("more than {} bytes of text when written out", self.max_bytes)));
        }
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize, PayloadError> {
        if depth < self.max_depth {
            return Ok(depth + 1);
        }
        Err(too_large(format!("nested deeper than {} (or it contains itself)", self.max_depth)))
    }
}

/// A finite float as Python prints it. JSON has no infinities and no NaN: they become the text that databases and Python's
/// `float()` read.
fn float_value(float: f64) -> Value {
    Number::parse(&repr(float)).map_or_else(
        || {
            let text = if float.is_nan() {
                "NaN"
            } else if float > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            Value::from(text)
        },
        Value::Number,
    )
}

/// Python's `repr`: the bounds of the notation are Rust's, but an exponent has a sign and two digits.
fn repr(float: f64) -> String {
    let text = jobqueue_json::shortest(float, format!("{float:?}"));
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
    }
}

/// A `timedelta` is its number of seconds, whole where it is whole.
fn seconds(duration: TimeDelta) -> Value {
    match duration.subsec_nanos() {
        0 => Value::from(duration.num_seconds()),
        nanos => float_value(duration.num_seconds() as f64 + f64::from(nanos) / 1e9),
    }
}
