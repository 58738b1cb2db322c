//! The list of problems. It is bounded, so that a hostile file cannot cause many long messages.

use crate::diagnostic::Problem;
use crate::text;
pub(super) use crate::text::quoted;

/// Further problems are counted, not written.
const KEPT: usize = 100;

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    more: usize,
}

impl Findings {
    /// Adds a problem. Its text is made only if it is kept.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() < KEPT {
            self.problems.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// Returns whether further problems are only counted, so that advice for them is not needed.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= KEPT
    }

    /// Returns the problems that were kept, and how many there are in addition.
    pub(super) fn into_parts(self) -> (Vec<Problem>, usize) {
        (self.problems, self.more)
    }
}

/// How many names are listed or compared, at most.
const LISTED: usize = 30;

/// Returns the advice for an unknown name: the likely name, and all known names.
pub(super) fn known<'a>(
    name: &str,
    what: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let all: Vec<&str> = names.into_iter().take(500).collect();
    let likely = likely(name, all.iter().copied());
    let mut help: Vec<String> =
        likely.map(|likely| format!("did you mean `{likely}`?")).into_iter().collect();
    if !all.is_empty() {
        let listed: Vec<String> =
            all.iter().take(LISTED).map(|name| format!("`{}`", quoted(name))).collect();
        let rest = if all.len() > LISTED { ", …" } else { "" };
        help.push(format!("{what}: {}{rest}", listed.join(", ")));
    }
    help
}

/// Returns the name that was most likely meant.
pub(super) fn likely<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    text::did_you_mean(name, names.into_iter().filter(|other| other.len() <= 64))
}
