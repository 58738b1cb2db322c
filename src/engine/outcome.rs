//! How steps end, and nodes.

use super::context::NotRecorded;
use crate::release::{Drained, Failure};
use crate::world::NotPermitted;

/// Why a step did not end well.
#[derive(Debug)]
pub(super) enum StepError {
    /// It failed.
    Failed(Failure),
    /// The node could not be reached: what was to be done there was certainly never begun.
    NotBegun(String),
    /// The link to the node was lost while a command ran: its effect is unknown.
    Lost(String),
    /// A gateway could not be read in the end, however long it was asked.
    Blind(String),
    /// Others have failed meanwhile: the node is not taken.
    NotTaken,
    /// The journal cannot be written, or the lock is lost: no new step may begin.
    Halt,
}

impl StepError {
    /// The failure that it amounts to for the node.
    pub(super) fn into_failure(self) -> Failure {
        let unknown = matches!(self, Self::Lost(_));
        let reason = match self {
            Self::Failed(failure) => return failure,
            Self::Lost(problem) => format!("{problem}; whether it took effect is unknown"),
            Self::NotBegun(problem) | Self::Blind(problem) => problem,
            Self::NotTaken => "too many other nodes failed".to_owned(),
            Self::Halt => "no new step may begin".to_owned(),
        };
        Failure { reason, unknown, ..Failure::default() }
    }

    /// The same of a second try: the first one may have begun it.
    pub(super) fn of_second_try(self) -> Self {
        match self {
            Self::NotBegun(problem) => Self::from(problem),
            other => other,
        }
    }
}

impl From<NotPermitted> for StepError {
    fn from(refused: NotPermitted) -> Self {
        if refused.is_final { Self::Halt } else { Self::NotBegun(refused.reason) }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<String> for StepError {
    fn from(reason: String) -> Self {
        Self::Failed(Failure { reason, ..Failure::default() })
    }
}

/// What a step found, in words, and what a drain saw.
#[derive(Debug, Default)]
pub(super) struct StepOutcome {
    pub(super) message: String,
    pub(super) drained: Option<Drained>,
}

impl From<String> for StepOutcome {
    fn from(message: String) -> Self {
        Self { message, drained: None }
    }
}

/// How the steps ended for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeResult {
    Done,
    Failed,
    Interrupted,
}

/// How a step ended for the node.
pub(super) enum StepResult {
    Done,
    Failed(StepError),
    Interrupted,
}

impl From<NotRecorded> for StepError {
    fn from(NotRecorded: NotRecorded) -> Self {
        Self::Halt
    }
}
