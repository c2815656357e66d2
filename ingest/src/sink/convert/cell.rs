//! A value as a database gets it.

use std::borrow::Cow;

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
}
