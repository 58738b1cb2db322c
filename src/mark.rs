//! How the registry marks a node.

/// How a node is marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// It gets requests.
    Up,
    /// It is out of rotation.
    Down,
    /// It is not known: nothing was written, or the places that it is marked in differ.
    #[default]
    Unknown,
}

impl Mark {
    /// Returns the mark of a node that is down, or is not.
    #[must_use]
    pub fn of(down: bool) -> Self {
        if down { Self::Down } else { Self::Up }
    }

    /// Returns whether the node is down, where that is known.
    #[must_use]
    pub fn is_down(self) -> Option<bool> {
        match self {
            Self::Up => Some(false),
            Self::Down => Some(true),
            Self::Unknown => None,
        }
    }
}
