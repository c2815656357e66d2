//! A value as a database gets it.

use std::borrow::Cow;
use std::cmp::Ordering;

/// A value as it is bound or copied.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sink) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Stands for the id of the parent row, which is not known yet.
    ParentId,
}

impl Cell<'_> {
    /// A copy that outlives the batch.
    pub(in crate::sink) fn to_owned_cell(&self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Bool(flag) => Cell::Bool(*flag),
            Self::Int(number) => Cell::Int(*number),
            Self::UInt(number) => Cell::UInt(*number),
            Self::Float(number) => Cell::Float(*number),
            Self::Text(text) => Cell::Text(Cow::Owned(text.clone().into_owned())),
            Self::Bytes(bytes) => Cell::Bytes(Cow::Owned(bytes.clone().into_owned())),
            Self::ParentId => Cell::ParentId,
        }
    }

    /// About how many bytes it takes on the wire.
    pub(in crate::sink) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// A total order: by kind, then by value. What a database may hold to be equal is not equal here if it is written
    /// differently: the two zeros, or an `Int` and a `UInt`. All NaN are equal.
    pub(in crate::sink) fn total_cmp(&self, other: &Cell<'_>) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Cell::Bool(other)) => one.cmp(other),
            (Self::Int(one), Cell::Int(other)) => one.cmp(other),
            (Self::UInt(one), Cell::UInt(other)) => one.cmp(other),
            (Self::Float(one), Cell::Float(other)) => one_nan(*one).total_cmp(&one_nan(*other)),
            (Self::Text(one), Cell::Text(other)) => one.cmp(other),
            (Self::Bytes(one), Cell::Bytes(other)) => one.cmp(other),
            _ => self.kind().cmp(&other.kind()),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::UInt(_) => 3,
            Self::Float(_) => 4,
            Self::Text(_) => 5,
            Self::Bytes(_) => 6,
            Self::ParentId => 7,
        }
    }
}

fn one_nan(float: f64) -> f64 {
    if float.is_nan() { f64::NAN } else { float }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_total_and_only_what_is_written_alike_is_equal() {
        let cells = [
            Cell::Null,
            Cell::Bool(false),
            Cell::Bool(true),
            Cell::Int(-10),
            Cell::Int(-9),
            Cell::Int(7),
            Cell::UInt(7),
            Cell::Float(f64::NEG_INFINITY),
            Cell::Float(-0.0),
            Cell::Float(0.0),
            Cell::Float(7.0),
            Cell::Float(f64::NAN),
            Cell::Text("".into()),
            Cell::Text("10".into()),
            Cell::Text("9".into()),
            Cell::Text("a".into()),
            Cell::Bytes(b"".as_slice().into()),
            Cell::Bytes(b"a".as_slice().into()),
            Cell::ParentId,
        ];
        for (place, cell) in cells.iter().enumerate() {
            for (other_place, other) in cells.iter().enumerate() {
                assert_eq!(cell.total_cmp(other), place.cmp(&other_place), "{cell:?}, {other:?}");
            }
        }
        assert_eq!(Cell::Float(-f64::NAN).total_cmp(&Cell::Float(f64::NAN)), Ordering::Equal);
    }
}
