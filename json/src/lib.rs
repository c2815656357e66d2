//! JSON values whose numbers keep the digits of their text.
//!
//! `serde_json` reads `0.123456789012345678` as the nearest double, which is another number. A record's numbers go into
//! columns that can hold more than a double, so that here a [`Number`] is what the producer wrote, until a database or an
//! expression reads it.

mod digits;
mod number;
mod parse;
mod value;

pub use digits::Digits;
pub use number::{Number, shortest};
pub use parse::{ParseError, parse};
pub use value::{Map, Value};

/// As `serde_json::json!`, with values of this crate.
#[macro_export]
macro_rules! json {
    ($($json:tt)+) => { $crate::Value::from($crate::serde_json::json!($($json)+)) };
}

#[doc(hidden)]
pub use serde_json;
