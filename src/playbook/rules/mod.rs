//! Problems of meaning, all at once: what no schema can say. One file per part of the playbook.
//!
//! A rule is held back where a key that it reads is broken: the structure has been complained of, and what stands in
//! for it would only cause complaints about what the user did write. A key under a misspelt name counts as given.

mod artifact;
mod checks;
mod fleet;
mod gateways;
mod secrets;
mod steps;
mod templates;

pub use artifact::{Misplaced, misplaced};

use super::Playbook;
use super::findings::Findings;
use super::hidden::Hidden;
use super::invalid_paths::InvalidPaths;
use super::tree::Tree;
use crate::diagnostic::Problem;

/// Adds every problem of meaning to the findings, but for what is broken already.
pub(super) fn check(
    playbook: &Playbook,
    tree: &Tree,
    source: &str,
    (invalid, hidden): (&InvalidPaths, &Hidden),
    findings: &mut Findings,
) {
    let invalid = invalid.clone();
    let mut check = Check { playbook, tree, source, invalid, hidden, findings };
    if !check.known("") {
        return;
    }
    // First: no other rule may quote a part of a URL that has a login in it.
    check.literals();
    check.fleet();
    check.gateways();
    check.parts();
    check.steps();
    check.templates();
}

struct Check<'a> {
    playbook: &'a Playbook,
    tree: &'a Tree,
    source: &'a str,
    invalid: InvalidPaths,
    hidden: &'a Hidden,
    findings: &'a mut Findings,
}

impl Check<'_> {
    /// Returns whether everything at these paths, and in what is there, is as the file says.
    fn sound(&self, paths: &[&str]) -> bool {
        !paths.iter().any(|path| self.invalid.touches(path))
    }

    /// Returns whether the value of a path is the file's, whatever may be wrong with what lies in it.
    fn known(&self, path: &str) -> bool {
        !self.invalid.holds(path)
    }

    /// Returns whether the file has this key, under its right name.
    fn given(&self, path: &str) -> bool {
        self.tree.locate(path).2 == path
    }

    /// Adds a problem of the value at a path, unless the value is broken already.
    fn wrong(
        &mut self,
        path: &str,
        message: impl Into<String>,
        finish: impl FnOnce(Problem) -> Problem,
    ) {
        if self.known(path) {
            self.add(path, message, finish);
        }
    }

    /// Adds a problem of what is there and what is not, at the key of a path or at what comes nearest to it.
    fn add(
        &mut self,
        path: &str,
        message: impl Into<String>,
        finish: impl FnOnce(Problem) -> Problem,
    ) {
        let (tree, hidden) = (self.tree, self.hidden);
        self.findings.add(|| {
            let (value, span, path) = tree.locate(path);
            let message = hidden.without_value(message.into(), value);
            finish(Problem::new(message).at(span).on(path))
        });
    }
}
