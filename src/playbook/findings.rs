//! The list that problems are collected in: bounded, so that a hostile file cannot make many long messages.

use crate::diagnostic::Problem;
use crate::text;
pub(super) use crate::text::quoted;

/// More are counted, not written out.
const KEPT: usize = 100;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    more: usize,
}

impl Findings {
    /// Adds a problem; its wording is made only if it is kept.
    pub(super) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() < KEPT {
            self.problems.push(problem());
        } else {
            self.more += 1;
        }
    }

    /// Returns whether more would only be counted, so that looking for advice is wasted.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= KEPT
    }

    /// Returns what was kept, and how many there are besides.
    pub(super) fn into_parts(self) -> (Vec<Problem>, usize) {
        (self.problems, self.more)
    }
}

/// How many names are listed or compared, at most.
const LISTED: usize = 30;

/// Returns what to say about a name that is none of the known ones: the likely one, and all of them.
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
