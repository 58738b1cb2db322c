//! The results of steps and of nodes.

use super::context::NotRecorded;
use crate::release::{Drained, Failure};
use crate::world::NotPermitted;

/// Why a step did not succeed.
#[derive(Debug)]
pub(super) enum StepError {
    /// The step failed.
    Failed(Failure),
    /// A command did not end within its time limit.
    Overdue(String),
    /// The node could not be reached: the action was certainly never begun.
    NotBegun(String),
    /// The connection to the node was lost while a command ran: the effect of the command is unknown.
    Lost(String),
    /// A gateway was still unreadable at the deadline, after repeated attempts.
    Blind(String),
    /// Too many other nodes failed meanwhile: the node is not removed from rotation.
    NotTaken,
    /// The journal cannot be written, or the lock is lost: no new step may begin.
    Halt,
}

impl StepError {
    /// Converts the error into the node's failure.
    pub(super) fn into_failure(self) -> Failure {
        let unknown = matches!(self, Self::Lost(_));
        let reason = match self {
            Self::Failed(failure) => return failure,
            Self::Lost(problem) => format!("{problem}; whether it took effect is unknown"),
            Self::NotBegun(problem) | Self::Blind(problem) | Self::Overdue(problem) => problem,
            Self::NotTaken => "too many other nodes failed".to_owned(),
            Self::Halt => "no new step may begin".to_owned(),
        };
        Failure { reason, unknown, ..Failure::default() }
    }

    /// Converts the error of a second attempt: the first attempt may have begun the action.
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

/// The result of a step as a message, and the counts of a drain.
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

/// The result of all steps of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeResult {
    Done,
    Failed,
    Interrupted,
}

/// The result of one step of a node.
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
