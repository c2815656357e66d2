//! Which properties are looked at.

/// Which properties are looked at.
#[derive(Debug, Clone, Copy)]
pub enum Look {
    /// All.
    All,
    /// All but this one, which is known not to hold.
    But(&'static str),
    /// Only this one.
    Only(&'static str),
}

impl Look {
    /// Is this one?
    pub fn at(self, property: &str) -> bool {
        match self {
            Self::All => true,
            Self::But(other) => property != other,
            Self::Only(only) => property == only,
        }
    }
}
