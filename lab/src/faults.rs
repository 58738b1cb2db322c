//! Faults at every step of a release: what happens when a part fails just then, and whether `resume`, or
//! `rollback`, reaches the end of an undisturbed one afterwards. `lab faults` makes the whole table, the end-to-end tests some cells.

mod mishap;
mod page;
mod row;
mod run;
mod seen;
mod told;

use std::fmt;

pub use mishap::{Lasts, Mishap, Place, Then};
pub use page::page;
pub use row::Row;
pub use run::try_cell;
pub use seen::NodeSeen;

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

    /// Returns whether the node may have users while the step is done.
    fn may_be_served(self) -> bool {
        !matches!(self, Self::Stop | Self::Activate | Self::Start | Self::Health)
    }
}

/// A mishap when the first node reaches a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What goes wrong.
    pub mishap: Mishap,
    /// When.
    pub step: Step,
}

impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.mishap.name(), self.step.name())
    }
}
