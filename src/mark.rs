//! The mark of a node in the registry.

/// The mark of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// The node receives requests.
    Up,
    /// The node is out of rotation.
    Down,
    /// The mark is unknown: nothing was written, or the node's entries differ.
    #[default]
    Unknown,
}

impl Mark {
    /// Returns the mark of a node that is down or up.
    #[must_use]
    pub fn of(down: bool) -> Self {
        if down { Self::Down } else { Self::Up }
    }

    /// Returns the word that tables show for the mark.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "?",
        }
    }

    /// Returns whether the node is down, if that is known.
    #[must_use]
    pub fn is_down(self) -> Option<bool> {
        match self {
            Self::Up => Some(false),
            Self::Down => Some(true),
            Self::Unknown => None,
        }
    }
}
