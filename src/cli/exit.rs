//! Exit codes.

use crate::ops::Cause;
use crate::release::Outcome;

/// How a command ends. The codes are a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done, or nothing to do.
    pub const DONE: Self = Self(0);
    /// `plan --detailed-exitcode`: there are changes.
    pub const CHANGES: Self = Self(6);

    /// The code of a result.
    pub(super) fn of(result: Outcome) -> Self {
        Self(result.exit_code())
    }

    /// The code of a command that was refused.
    pub(super) fn because(cause: Cause) -> Self {
        Self(cause.exit_code())
    }
}
