//! The functions that recipes have beyond standard CEL, or in its place: `date`, `datetime`, `timestamp`, `instant`,
//! `number`, `decimal`, `text`, `json`, `default` and `now`. Pure functions of their arguments, shared by the interpreter and the
//! fast path.

mod dates;
mod instants;
mod numbers;
mod texts;

use strum::{EnumIter, EnumString, IntoStaticStr};

pub(crate) use self::{
    dates::{date, default_date, formats},
    instants::{TimeUnit, duration, instant, timestamp},
    numbers::{decimal, number},
    texts::{json, parse_json, text},
};

/// A function of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum RecipeFunction {
    Date,
    DateTime,
    /// In place of CEL's own: it reads more spellings, and no other number than seconds.
    Timestamp,
    Instant,
    Number,
    Decimal,
    Text,
    Json,
    Default,
    Now,
}

impl RecipeFunction {
    /// Fewest and most arguments.
    pub(crate) fn arity(self) -> (usize, usize) {
        match self {
            Self::Date | Self::DateTime => (1, 3),
            Self::Number | Self::Decimal => (1, 2),
            Self::Text | Self::Json | Self::Timestamp => (1, 1),
            Self::Default | Self::Instant => (2, 2),
            Self::Now => (0, 0),
        }
    }

    /// How it is written, for error messages.
    pub(crate) fn signature(self) -> &'static str {
        match self {
            Self::Date => "date(x), date(x, format) or date(x, format, default)",
            Self::DateTime => "datetime(x), datetime(x, format) or datetime(x, format, default)",
            Self::Timestamp => "timestamp(x)",
            Self::Instant => "instant(x, unit)",
            Self::Number => "number(x) or number(x, default)",
            Self::Decimal => "decimal(x) or decimal(x, default)",
            Self::Text => "text(x)",
            Self::Json => "json(x)",
            Self::Default => "default(x, fallback)",
            Self::Now => "now()",
        }
    }
}

#[cfg(test)]
mod testing {
    //! What the tests of all of them do with values.

    use jobqueue_json::Value as JsonValue;

    use crate::recipe::eval::value::Value;

    pub(super) fn of(value: &JsonValue) -> Value<'_> {
        Value::from_json(value)
    }

    pub(super) fn text_of(result: Result<Value<'_>, String>) -> Result<Option<String>, String> {
        result.map(|value| value.text())
    }
}
