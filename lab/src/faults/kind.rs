//! The kinds of releases that a fault can hit.

use super::mishap::Then;
use super::step::Step;

/// The version that runs before a release, and the version that `deploy` releases.
pub(super) const OLD: &str = "1";
pub(super) const NEW: &str = "2";

/// The kind of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `deploy` of another version.
    Deploy,
    /// `deploy --restart`.
    Restart,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Deploy, Self::Restart];

    /// Returns the start of the names of its rows.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Deploy => "",
            Self::Restart => "restart-",
        }
    }

    /// Returns its steps, in order: a restart brings nothing to the nodes.
    pub fn steps(self) -> impl Iterator<Item = Step> {
        let left_out = move |step: &Step| {
            self == Self::Restart && matches!(step, Step::Stage | Step::Activate)
        };
        Step::ALL.into_iter().filter(move |step| !left_out(step))
    }

    /// Returns the options of `deploy`.
    pub(super) fn options(self) -> Vec<String> {
        match self {
            Self::Deploy => vec!["--var".to_owned(), format!("version={NEW}")],
            Self::Restart => vec!["--restart".to_owned()],
        }
    }

    /// Returns the version of a node that is done.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Deploy => NEW,
            Self::Restart => OLD,
        }
    }

    /// Returns whether this command can follow: a restart has nothing to roll back.
    pub(super) fn allows(self, then: Then) -> bool {
        self == Self::Deploy || then == Then::Resume
    }
}
