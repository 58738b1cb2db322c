//! The steps of a release, by rollgate's names.

/// A step of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are rollgate's own words")]
pub enum Step {
    Stage,
    Disable,
    ConfirmOut,
    Drain,
    Stop,
    Activate,
    Start,
    Health,
    Enable,
    ConfirmIn,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Stage,
        Self::Disable,
        Self::ConfirmOut,
        Self::Drain,
        Self::Stop,
        Self::Activate,
        Self::Start,
        Self::Health,
        Self::Enable,
        Self::ConfirmIn,
    ];

    /// Returns the name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Disable => "disable",
            Self::ConfirmOut => "confirm_out",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Activate => "activate",
            Self::Start => "start",
            Self::Health => "health",
            Self::Enable => "enable",
            Self::ConfirmIn => "confirm_in",
        }
    }

    /// Returns whether the node may serve users during the step.
    pub(super) fn may_be_served(self) -> bool {
        !matches!(self, Self::Stop | Self::Activate | Self::Start | Self::Health)
    }
}
