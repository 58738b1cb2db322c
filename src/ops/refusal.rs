//! Why a command ends before it has changed anything.

use crate::diagnostic::Invalid;
use crate::release::Outcome;
use crate::text;

/// What hints end with where nothing else is worth a hint.
const UNCHANGED: &str = "nothing was changed";

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Something went wrong within.
    Internal,
    /// Usage, or an invalid playbook.
    Invalid,
    /// The live systems, or a journal, do not allow it.
    Refused,
    /// Another release holds the lock.
    Locked,
    /// The caller asked to stop, or did not confirm.
    Stopped,
}

impl Cause {
    /// The exit code that tells it. The codes are a promise.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::Refused => Outcome::Refused.exit_code(),
            Self::Locked => Outcome::LockLost.exit_code(),
            Self::Stopped => Outcome::Stopped.exit_code(),
        }
    }

    /// The result for programs.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Stopped => Outcome::Stopped,
            Self::Internal | Self::Invalid | Self::Refused | Self::Locked => Outcome::Refused,
        }
    }
}

/// A command that ends before it has changed anything.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What kind of reason it is.
    pub cause: Cause,
    /// Why, in one line.
    pub reason: String,
    /// The text for people, where it is another one than an error with the reason.
    pub text: Option<String>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// What is wrong with the playbook, one by one.
    pub invalid: Option<Box<Invalid>>,
    /// The command that tells more, and what it is for.
    pub next: Option<Box<(String, String)>>,
}

impl Refusal {
    /// A refusal with its reason.
    #[must_use]
    pub fn new(cause: Cause, reason: impl AsRef<str>) -> Self {
        let reason = text::harmless(reason.as_ref());
        Self { cause, reason, text: None, hints: Vec::new(), invalid: None, next: None }
    }

    /// Refused before anything was changed, which the hint says.
    #[must_use]
    pub fn refused(reason: impl AsRef<str>) -> Self {
        Self::new(Cause::Refused, reason).hint(UNCHANGED)
    }

    /// A refusal whose text for people has a form of its own.
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

    /// The caller asked to stop before anything began.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(Cause::Stopped, "stopped on request; nothing was changed")
    }

    /// The same with something to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hints.push(text::harmless(hint.as_ref()));
        self
    }

    /// The same with a command that tells more.
    #[must_use]
    pub fn hint_at(mut self, what: &str, command: String) -> Self {
        self = self.hint(format!("`{command}` {what}"));
        self.next = Some(Box::new((what.to_owned(), command)));
        self
    }
}

/// Refuses because of an error within a journal, a state folder or the engine before its first event.
pub(super) fn of_error(error: &anyhow::Error) -> Refusal {
    Refusal::refused(format!("{error:#}"))
}
