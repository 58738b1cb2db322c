//! The mark of a node in the registry.

/// The mark of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// The node receives requests.
    Up,
    /// The node is out of rotation.
    Down,
    /// The mark is unknown: nothing was written, or the node's entries in one registry differ.
    #[default]
    Unknown,
    /// The registries of the node differ.
    Mixed,
}

impl Mark {
    /// Returns the mark of a node that is down or up.
    #[must_use]
    pub fn of(down: bool) -> Self {
        if down { Self::Down } else { Self::Up }
    }

    /// Returns the mark of a node with these marks in its registries.
    #[must_use]
    pub fn of_all(marks: &[Self]) -> Self {
        match marks {
            [] => Self::Unknown,
            [only] => *only,
            all if all.iter().all(|mark| *mark == Self::Up) => Self::Up,
            all if all.iter().all(|mark| *mark == Self::Down) => Self::Down,
            _ => Self::Mixed,
        }
    }

    /// Returns the word that tables show for the mark.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "?",
            Self::Mixed => "mixed",
        }
    }

    /// Returns whether the node is down, if that is known.
    #[must_use]
    pub fn is_down(self) -> Option<bool> {
        match self {
            Self::Up => Some(false),
            Self::Down => Some(true),
            Self::Unknown | Self::Mixed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_registries_agree_or_the_mark_is_mixed() {
        use Mark::{Down, Mixed, Unknown, Up};
        for (marks, expected) in [
            (&[Down][..], Down),
            (&[Unknown], Unknown),
            (&[Up, Up], Up),
            (&[Down, Down, Down], Down),
            (&[Up, Down], Mixed),
            (&[Down, Unknown], Mixed),
            (&[Unknown, Unknown], Mixed),
        ] {
            assert_eq!(Mark::of_all(marks), expected, "{marks:?}");
        }
    }
}
