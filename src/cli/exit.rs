//! Exit codes.

use crate::ops::Cause;
use crate::ops::status::Level;
use crate::release::Outcome;

/// The exit code of a command. The codes are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done, or nothing to do.
    pub const DONE: Self = Self(0);
    /// `plan --detailed-exitcode`: there are changes.
    pub const CHANGES: Self = Self(6);

    /// Returns the exit code of a result.
    pub(super) fn of(result: Outcome) -> Self {
        Self(result.exit_code())
    }

    /// Returns the exit code of `status --exit-code`.
    pub(super) fn at(level: Level) -> Self {
        match level {
            Level::AsItShouldBe => Self(0),
            Level::Deviates => Self(1),
            Level::UnderWay => Self(2),
            Level::Unknown => Self(3),
        }
    }

    /// Returns the exit code of a refused command.
    pub(super) fn because(cause: Cause) -> Self {
        Self(cause.exit_code())
    }
}
