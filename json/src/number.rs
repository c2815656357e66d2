//! A number in JSON.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::Digits;

/// A number as its producer wrote it. Two are equal if their texts are.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// Most numbers are small and whole; JSON has one way to write such a number.
    Int(i64),
    Text(Box<str>),
}

impl Number {
    /// The number that `text` is in JSON; none if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let written_as_json = !whole.is_empty()
            && !fraction.is_empty()
            && (whole == "0" || !whole.starts_with('0'))
            && Digits::parse(unsigned).is_some()
            && !unsigned.starts_with('+');
        written_as_json.then(|| Self::of_json(text))
    }

    /// As [`Number::parse`], of a text that a parser took for a number.
    pub(crate) fn of_json(text: &str) -> Self {
        // Longer texts cannot be an i64.
        match text.parse() {
            Ok(int) if text.len() <= 20 && text != "-0" => Self(Repr::Int(int)),
            _ => Self(Repr::Text(text.into())),
        }
    }

    /// The [`shortest`] text of `float`; none for infinities and NaN, which JSON lacks.
    pub fn from_f64(float: f64) -> Option<Self> {
        float.is_finite().then(|| Self(Repr::Text(shortest(float, format!("{float:?}")).into())))
    }

    /// The text.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Int(int) => Cow::Owned(int.to_string()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }

    /// The number, if it is written without fraction and exponent and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Int(int) => Some(*int),
            Repr::Text(_) => None,
        }
    }

    /// The number, if it is written without sign, fraction and exponent and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Int(int) => u64::try_from(*int).ok(),
            Repr::Text(text) => text.parse().ok(),
        }
    }

    /// The nearest double; infinite beyond the largest.
    pub fn as_f64(&self) -> f64 {
        match &self.0 {
            Repr::Int(int) => *int as f64,
            Repr::Text(text) => text.parse().unwrap_or(f64::NAN),
        }
    }
}

/// The shortest digits that are read back as `float`, in the notation of `text`, which is Rust's own of that number.
///
/// Large numbers have two that are equally near, such as 1275552171247519.2 and ...519.3 for ...519.25. Rust writes the upper
/// one; Python's `repr` and databases write the one that is even.
pub fn shortest(float: f64, text: String) -> String {
    let mantissa = text.find('e').unwrap_or(text.len());
    let Some(digits) =
        Digits::parse(&text[..mantissa]).map(|digits| digits.significant()).filter(|digits| *digits > 15)
    else {
        return text;
    };
    let nearest = format!("{float:.*e}", digits - 1);
    let last = nearest.split('e').next().and_then(|mantissa| mantissa.chars().last());
    let place = text[..mantissa].rfind(|digit: char| ('1'..='9').contains(&digit));
    let (Some(last), Some(place)) = (last, place) else { return text };
    let mut even = text.clone();
    even.replace_range(place..=place, last.encode_utf8(&mut [0; 4]));
    if even.parse() == Ok(float) { even } else { text }
}

impl From<i64> for Number {
    fn from(int: i64) -> Self {
        Self(Repr::Int(int))
    }
}

impl From<u64> for Number {
    fn from(int: u64) -> Self {
        i64::try_from(int).map_or_else(|_| Self(Repr::Text(int.to_string().into())), Self::from)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Int(int) => int.fmt(f),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({self})")
    }
}

/// As an integer or a double where that is the same number, else as text.
impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match &self.0 {
            Repr::Int(int) => return serializer.serialize_i64(*int),
            Repr::Text(text) => text,
        };
        if let Some(int) = self.as_u64() {
            return serializer.serialize_u64(int);
        }
        let double = self.as_f64();
        // Half-way cases have two shortest texts: what counts is the one that will be written.
        let written = serde_json::Number::from_f64(double).map(|number| number.to_string());
        if written.is_some_and(|written| Digits::parse(&written) == Digits::parse(text)) {
            return serializer.serialize_f64(double);
        }
        serializer.serialize_str(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_two_texts_that_are_equally_near_the_even_one_is_written() {
        // As Python 3 writes them.
        for (float, text) in [
            (5_102_208_684_990_077.0 / 4.0, "1275552171247519.2"),
            (-5_102_208_684_990_077.0 / 4.0, "-1275552171247519.2"),
            (5_102_208_684_990_079.0 / 4.0, "1275552171247519.8"),
            (615_321_984_475_855.1, "615321984475855.1"),
            (0.1, "0.1"),
            (1e22, "1e22"),
            (5e-324, "5e-324"),
            (1e300, "1e300"),
        ] {
            assert_eq!(Number::from_f64(float).unwrap().text(), text);
        }
        assert_eq!(shortest(0.1, (0.1).to_string()), "0.1");
        let large = 5_102_208_684_990_077.0 / 4.0;
        assert_eq!(shortest(large, large.to_string()), "1275552171247519.2");
    }

    proptest! {
        #[test]
        fn digits_are_those_of_another_writer(float in prop_oneof![any::<f64>(), any::<u64>().prop_map(|x| (x >> 11) as f64 / 8.0)]) {
            prop_assume!(float.is_finite());
            let other = serde_json::Number::from_f64(float).unwrap().to_string();
            for text in [format!("{float:?}"), float.to_string()] {
                let text = shortest(float, text);
                prop_assert_eq!(text.parse::<f64>(), Ok(float));
                prop_assert_eq!(Digits::parse(&text), Digits::parse(&other));
            }
        }
    }
}
