//! Why a command ends before it has changed anything.

use crate::diagnostic::Invalid;
use crate::release::Outcome;
use crate::text;

/// The last hint if there is no more specific one.
const UNCHANGED: &str = "nothing was changed";

/// The kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An internal error.
    Internal,
    /// Wrong usage, or an invalid playbook.
    Invalid,
    /// The live systems or a journal do not permit it.
    Refused,
    /// Another release holds the lock.
    Locked,
    /// Something was changed since the plan was made.
    Stale,
    /// The caller asked to stop, or did not confirm.
    Stopped,
}

impl Cause {
    /// The exit code of this cause. The codes are a contract.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::Refused => Outcome::Refused.exit_code(),
            Self::Locked => Outcome::LockLost.exit_code(),
            Self::Stale => 5,
            Self::Stopped => Outcome::Stopped.exit_code(),
        }
    }

    /// The result for programs.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Stopped => Outcome::Stopped,
            Self::Internal | Self::Invalid | Self::Refused | Self::Locked | Self::Stale => {
                Outcome::Refused
            }
        }
    }
}

/// A command that ends before it has changed anything.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The kind of reason.
    pub cause: Cause,
    /// The reason, in one line.
    pub reason: String,
    /// The text for people, if it is not simply the error with its reason.
    pub text: Option<String>,
    /// What to do next.
    pub hints: Vec<String>,
    /// All problems of the playbook.
    pub invalid: Option<Box<Invalid>>,
    /// What the next command shows, and the command.
    pub next: Option<Box<(String, String)>>,
}

impl Refusal {
    /// Makes a refusal with its reason.
    #[must_use]
    pub fn new(cause: Cause, reason: impl AsRef<str>) -> Self {
        let reason = text::harmless(reason.as_ref());
        Self { cause, reason, text: None, hints: Vec::new(), invalid: None, next: None }
    }

    /// Makes a refusal with a hint that nothing was changed.
    #[must_use]
    pub fn refused(reason: impl AsRef<str>) -> Self {
        Self::new(Cause::Refused, reason).hint(UNCHANGED)
    }

    /// Makes a refusal with a separate text for people.
    #[must_use]
    pub fn told(cause: Cause, reason: impl Into<String>, text: impl Into<String>) -> Self {
        let refusal = Self::new(cause, "");
        Self { reason: reason.into(), text: Some(text.into()), ..refusal }
    }

    /// The playbook is not valid.
    #[must_use]
    pub fn invalid(invalid: Invalid) -> Self {
        let refusal = Self::new(Cause::Invalid, "");
        Self { reason: invalid.summary(), invalid: Some(Box::new(invalid)), ..refusal }
    }

    /// The caller asked to stop before anything was changed.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(Cause::Stopped, "stopped on request; nothing was changed")
    }

    /// Adds a hint about what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hints.push(text::harmless(hint.as_ref()));
        self
    }

    /// Adds a hint at a command that shows more.
    #[must_use]
    pub fn hint_at(mut self, what: &str, command: String) -> Self {
        self = self.hint(format!("`{command}` {what}"));
        self.next = Some(Box::new((what.to_owned(), command)));
        self
    }
}

/// Refuses because of an error in a journal, in a state folder, or in the engine before its first event.
pub(super) fn of_error(error: &anyhow::Error) -> Refusal {
    Refusal::refused(format!("{error:#}"))
}
