//! Which properties are checked.

/// Which properties are checked.
#[derive(Debug, Clone, Copy)]
pub enum Selection {
    /// All.
    All,
    /// All but this one, which is known not to hold.
    But(&'static str),
    /// Only this one.
    Only(&'static str),
}

impl Selection {
    /// Whether this one is checked.
    pub fn includes(self, property: &str) -> bool {
        match self {
            Self::All => true,
            Self::But(other) => property != other,
            Self::Only(only) => property == only,
        }
    }
}
